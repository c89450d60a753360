#!/usr/bin/env bash
# Pins the image's Python packages anew: docker/*.in -> docker/*.lock, with hashes and without index addresses.
# Resolves for the image (CPython 3.10, glibc 2.31 and later, x86-64) on any machine; downloads metadata only. Needs uv.
#
#   docker/lock.sh             keep what is pinned already where the inputs allow it
#   docker/lock.sh --upgrade   newest versions of everything that the inputs leave open
#   OUT=DIR docker/lock.sh     write there instead
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
out=${OUT:-.}

# Never published as wheels; all of them pure Python.
from_source=()
for package in jsonmerge antlr4-python3-runtime fvcore svglib; do from_source+=(--no-binary "$package"); done

upgrade=()
if [[ ${1:-} == --upgrade ]]; then upgrade=(--upgrade); fi

compile() { # compile OUTPUT INPUT…
  local output=$1
  shift
  uv pip compile "$@" --python-version 3.10 --python-platform x86_64-manylinux_2_31 --only-binary :all: \
    "${from_source[@]}" --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet \
    --output-file "$output" "${upgrade[@]}"
}

pins() { # pins LOCK: its name==version lines alone
  grep -oE '^[a-z0-9][a-z0-9._-]*==[^ ]+' "$1"
}

pinned=$(mktemp)
trap 'rm -f "$pinned"' EXIT

compile "$out/tools.lock" tools.in
for variant in cu121 cu128; do
  # Three layers of the image that have to agree: all of the WebUI first, then torch's part of it for the lowest layer,
  # then what the extensions add on top.
  compile "$out/webui-$variant.lock" webui.in "torch-$variant.in" --override overrides.txt --constraint extensions.in
  pins "$out/webui-$variant.lock" | grep -v '^protobuf==' >"$pinned"
  compile "$out/torch-$variant.lock" "torch-$variant.in" --constraint "$pinned"
  below=()
  while IFS= read -r pin; do below+=(--no-emit-package "${pin%%==*}"); done <"$pinned"
  compile "$out/extensions-$variant.lock" webui.in "torch-$variant.in" extensions.in --override overrides.txt \
    --override extensions-overrides.txt --constraint "$pinned" "${below[@]}"
done
