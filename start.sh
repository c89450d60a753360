#!/usr/bin/env bash
# The container's entry: allocator, user, then the worker in this very process, so that signals reach it.
set -euo pipefail
cd -- "$(dirname -- "$(readlink -f -- "$0")")"

python=${WORKER_PYTHON:-/opt/worker-env/bin/python}
if [[ ! -x $python ]]; then python=$(command -v python3); fi

# tcmalloc gives memory back after a change of checkpoint; glibc's malloc keeps it.
if [[ -z ${LD_PRELOAD:-} ]]; then
  for library in /usr/lib/*/libtcmalloc_minimal.so.4; do
    if [[ -r $library ]]; then export LD_PRELOAD=$library; fi
  done
fi

# Root is left behind when the unprivileged user can write the model folder (or nobody can). RunPod mounts a network
# volume owned by root: there, downloads need root until the folder is given away (chown -R 10001:10001).
# RUN_AS=root or RUN_AS=worker decides otherwise.
# `start.sh serve …` answers jobs over plain HTTP in place of RunPod's queue; on a load-balancing endpoint handler.py does.
command=("$python" -u handler.py "$@")
if [[ ${1:-} == serve ]]; then command=("$python" -u -m worker "$@"); fi
if [[ $(id -u) == 0 && ${RUN_AS:-auto} != root ]] && id worker >/dev/null 2>&1; then
  models=${MODELS_DIR:-models}
  if [[ -z ${MODELS_DIR:-} && -d /runpod-volume ]]; then
    models=/runpod-volume
    if [[ -d /runpod-volume/models ]]; then models=/runpod-volume/models; fi
  fi
  # A load-balancing endpoint's port (80) may need the one capability that is kept then.
  capabilities=(--inh-caps=-all)
  first_free_port=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)
  if [[ -n ${RUNPOD_ENDPOINT_ID:-} && -z ${RUNPOD_WEBHOOK_GET_JOB:-} && ${HTTP_PORT:-${PORT:-80}} -lt $first_free_port ]]; then
    capabilities=("--inh-caps=-all,+net_bind_service" "--ambient-caps=-all,+net_bind_service")
  fi
  as_worker=(setpriv --reuid=worker --regid=worker --init-groups "${capabilities[@]}" --no-new-privs)
  if [[ ${RUN_AS:-auto} == worker || ! -w $models ]] || "${as_worker[@]}" test -w "$models"; then
    export HOME=/home/worker
    exec "${as_worker[@]}" "${command[@]}"
  fi
  echo "start.sh: stays root, because the user worker (10001) cannot write $models" >&2
fi
exec "${command[@]}"
