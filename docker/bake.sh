#!/usr/bin/env bash
# Put models into the image while it is built: bake.sh "REF, REF…" CACHE TARGET
# REF: a name as in jobs, or KIND=ADDRESS where nothing tells what it is: lora=https://example.com/style.safetensors
# Tokens come from BuildKit's secrets (hf_token, civitai_token) and are in no layer.
set -euo pipefail
list=$1 cache=$2 target=$3
python=${WORKER_PYTHON:-/opt/worker-env/bin/python} secrets=${SECRETS:-/run/secrets}

secret() {
  if [[ -f $secrets/$1 ]]; then cat "$secrets/$1"; fi
}

mkdir -p "$target"
mapfile -t names < <(tr ',' '\n' <<<"$list" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//; /^$/d')
if [[ ${#names[@]} == 0 ]]; then exit 0; fi

HF_TOKEN=$(secret hf_token)
CIVITAI_API_KEY=$(secret civitai_token)
export HF_TOKEN CIVITAI_API_KEY

# Kept between builds, a folder per list: a change of the worker's code does not download the models again.
folder=$cache/$(printf '%s\n' "${names[@]}" | sha256sum | cut -c1-16)
kinds='checkpoint|lora|embedding|vae|controlnet|upscaler|detector|annotator'
named=()
for name in "${names[@]}"; do
  if [[ $name =~ ^($kinds)=(.+)$ ]]; then
    "$python" -m worker models pull "${BASH_REMATCH[2]}" --kind "${BASH_REMATCH[1]}" --dir "$folder"
  else
    named+=("$name")
  fi
done
if [[ ${#named[@]} != 0 ]]; then "$python" -m worker models pull "${named[@]}" --dir "$folder"; fi
cp -r "$folder/." "$target/"
