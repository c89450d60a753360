# syntax=docker/dockerfile:1.7
#
# The worker and its WebUI (AUTOMATIC1111 v1.10.1) in one image, each in a Python environment of its own.
#
#   docker build -t a1111-worker .                                     CUDA 12.1, no models inside
#   docker build --build-arg CUDA=cu128 -t a1111-worker:cu128 .        CUDA 12.8: Blackwell
#   docker build --build-arg BAKE="Deliberate v6, Detail Tweaker XL" --secret id=civitai_token,src=… .
#   docker build --build-arg WEBUI=none -t a1111-worker:bare .         the worker alone, for a WebUI elsewhere (WEBUI_URL)
#
# Every version is pinned here or in docker/*.lock and requirements/worker.lock (hashed). Debian's packages follow the
# base image's release: their older versions leave the mirrors, so pinning them would break the build.
#
# Base: python:3.10-slim-bookworm, CUDA from PyPI's wheels. torch's wheels carry their own CUDA libraries, so an
# nvidia/cuda base would add gigabytes that nothing loads; the driver comes from the host. A1111 wants Python 3.10.

ARG PYTHON_IMAGE=python:3.10.19-slim-bookworm
# cu121 (torch 2.1.2: the pair A1111 v1.10.1 was released with) or cu128 (torch 2.8.0: Blackwell too)
ARG CUDA=cu121
# full or none
ARG WEBUI=full
# Extensions of docker/extensions.in to put in, separated by blanks
ARG EXTENSIONS="controlnet adetailer"
# Models to put in, separated by commas, named as in jobs
ARG BAKE=""
# Upscalers to put in beside the volume's other models, separated by commas, named as in the catalog
ARG UPSCALERS=""
# ADetailer's detectors and the weights of ControlNet's preprocessors to put in likewise
ARG ANNOTATORS=""

ARG WEBUI_COMMIT=82a973c04367123ae98bd9abdf80d9eda9b910e2
ARG ASSETS_COMMIT=6f7db241d2f8ba7457bac5ca9753331f0c266917
ARG STABLEDIFFUSION_COMMIT=cf1d67a6fd5ea1aa600c4df58e5b47da45f6bdbf
ARG GENERATIVE_MODELS_COMMIT=45c443b316737a4ab6e40413d7794a7f5657c19f
ARG K_DIFFUSION_COMMIT=ab527a9a6d347f364e3d185ba6d714e22d80cb3c
ARG BLIP_COMMIT=48211a1594f1321b00f14c9f7a5b4813144b2fb9
ARG CLIP_COMMIT=d50d76daa670286dd6cacf3bcd80b5e4823fc8e1
ARG CONTROLNET_COMMIT=56cec5b2958edf3b1807b7e7b2b1b5186dbd2f81
ARG ADETAILER_COMMIT=36189cbea735b85fd01e98ac42002b8ce6f0e41d
ARG CLIP_HUB_REVISION=32bd64288804d66eefd0ccbe215aa642df71cc41

# ------------------------------------------------------------------------------------------------------------ sources
# Fetched by BuildKit itself, by commit. A build without GitHub replaces the stage: --build-context sources=DIR

FROM scratch AS sources
ARG WEBUI_COMMIT ASSETS_COMMIT STABLEDIFFUSION_COMMIT GENERATIVE_MODELS_COMMIT K_DIFFUSION_COMMIT BLIP_COMMIT CLIP_COMMIT
ARG CONTROLNET_COMMIT ADETAILER_COMMIT
ADD https://github.com/AUTOMATIC1111/stable-diffusion-webui.git#${WEBUI_COMMIT} /webui
ADD https://github.com/AUTOMATIC1111/stable-diffusion-webui-assets.git#${ASSETS_COMMIT} /repositories/stable-diffusion-webui-assets
# Stability-AI/stablediffusion was deleted from GitHub; this is the copy that A1111's maintainers point to.
ADD https://github.com/w-e-w/stablediffusion.git#${STABLEDIFFUSION_COMMIT} /repositories/stable-diffusion-stability-ai
ADD https://github.com/Stability-AI/generative-models.git#${GENERATIVE_MODELS_COMMIT} /repositories/generative-models
ADD https://github.com/crowsonkb/k-diffusion.git#${K_DIFFUSION_COMMIT} /repositories/k-diffusion
ADD https://github.com/salesforce/BLIP.git#${BLIP_COMMIT} /repositories/BLIP
ADD https://github.com/openai/CLIP.git#${CLIP_COMMIT} /clip
ADD https://github.com/Mikubill/sd-webui-controlnet.git#${CONTROLNET_COMMIT} /extensions/controlnet
ADD https://github.com/Bing-su/adetailer.git#${ADETAILER_COMMIT} /extensions/adetailer

# The tokenizer and the config of CLIP, which the WebUI would otherwise fetch when it first loads a checkpoint.
# Replaceable: --build-context hub=DIR
FROM scratch AS hub
ARG CLIP_HUB_REVISION
ADD --chmod=644 https://huggingface.co/openai/clip-vit-large-patch14/resolve/${CLIP_HUB_REVISION}/config.json \
    https://huggingface.co/openai/clip-vit-large-patch14/resolve/${CLIP_HUB_REVISION}/merges.txt \
    https://huggingface.co/openai/clip-vit-large-patch14/resolve/${CLIP_HUB_REVISION}/special_tokens_map.json \
    https://huggingface.co/openai/clip-vit-large-patch14/resolve/${CLIP_HUB_REVISION}/tokenizer_config.json \
    https://huggingface.co/openai/clip-vit-large-patch14/resolve/${CLIP_HUB_REVISION}/vocab.json \
    /clip/

# --------------------------------------------------------------------------------------------------------------- base

FROM ${PYTHON_IMAGE} AS base
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Debian's versions: see the head of this file.
# hadolint ignore=DL3008
RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt/lists,sharing=locked <<'EOF'
rm -f /etc/apt/apt.conf.d/docker-clean
apt-get update -qq
# tcmalloc for the WebUI's memory, tini as process 1
DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
    ca-certificates libtcmalloc-minimal4 tini
groupadd --gid 10001 worker
useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin worker
EOF

FROM base AS tools
COPY docker/tools.lock /tmp/tools.lock
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target /opt/tools --requirement /tmp/tools.lock

# -------------------------------------------------------------------------------------------------------- environments

FROM base AS worker-env
ENV UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=requirements/worker.lock,target=/tmp/worker.lock <<'EOF'
/opt/tools/bin/uv venv --quiet --python /usr/local/bin/python /opt/worker-env
/opt/tools/bin/uv pip install --quiet --python /opt/worker-env/bin/python --require-hashes --no-deps --compile-bytecode \
    --requirement /tmp/worker.lock
EOF

FROM base AS webui-none

FROM base AS webui-full
ARG CUDA
ENV UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PYTHON_DOWNLOADS=never UV_SYSTEM_CERTS=1
# The largest layer and the one that changes least: torch, CUDA and xformers.
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=docker/torch-${CUDA}.lock,target=/tmp/torch.lock <<'EOF'
/opt/tools/bin/uv venv --quiet --python /usr/local/bin/python /opt/webui-env
/opt/tools/bin/uv pip install --quiet --python /opt/webui-env/bin/python --require-hashes --no-deps --compile-bytecode \
    --requirement /tmp/torch.lock
EOF

# Without build isolation: what has no wheel is built by the setuptools of the layer above, never by a newer one.
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=docker/webui-${CUDA}.lock,target=/tmp/webui.lock \
    --mount=type=bind,from=sources,source=/clip,target=/tmp/clip,rw <<'EOF'
export VIRTUAL_ENV=/opt/webui-env
/opt/tools/bin/uv pip install --quiet --no-build-isolation --no-deps --compile-bytecode --require-hashes \
    --requirement /tmp/webui.lock
/opt/tools/bin/uv pip install --quiet --no-build-isolation --no-deps --compile-bytecode /tmp/clip
EOF

ARG EXTENSIONS
RUN --mount=type=bind,from=tools,source=/opt/tools,target=/opt/tools --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=docker/extensions-${CUDA}.lock,target=/tmp/extensions.lock <<'EOF'
if [ -z "${EXTENSIONS}" ]; then exit 0; fi
/opt/tools/bin/uv pip install --quiet --python /opt/webui-env/bin/python --no-build-isolation --no-deps \
    --compile-bytecode --require-hashes --requirement /tmp/extensions.lock
EOF

# The worker starts the WebUI offline, with this hub cache: nothing is fetched when it starts. The worker itself fetches
# models from the hub, so the hub's own variables are not set for the whole image. The WebUI's SQLite cache must not lie
# on a network volume.
ENV WEBUI_HUB_DIR=/opt/hub GIT_PYTHON_REFRESH=quiet \
    WEBUI_DIR=/opt/webui WEBUI_PYTHON=/opt/webui-env/bin/python SD_WEBUI_CACHE_DIR=/tmp/webui-cache MPLCONFIGDIR=/opt/matplotlib
ARG CLIP_HUB_REVISION
COPY --from=hub /clip /opt/hub/hub/models--openai--clip-vit-large-patch14/snapshots/${CLIP_HUB_REVISION}
RUN --mount=type=bind,from=sources,target=/tmp/sources --mount=type=bind,source=docker/webui.in,target=/tmp/webui.in \
    --mount=type=bind,source=docker/check_webui.py,target=/tmp/check_webui.py <<'EOF'
refs=/opt/hub/hub/models--openai--clip-vit-large-patch14/refs
mkdir "${refs}"
printf %s "${CLIP_HUB_REVISION}" >"${refs}/main"
printf 1 >/opt/hub/hub/version.txt
cp -r /tmp/sources/webui /opt/webui
cp -r /tmp/sources/repositories /opt/webui/
for name in ${EXTENSIONS}; do cp -r "/tmp/sources/extensions/${name}" "/opt/webui/extensions/${name}"; done
# The WebUI writes beside its code. What it writes goes to /tmp, so that the code is read-only for the worker's user and
# the container's root may be mounted read-only.
rm -rf /opt/webui/params.txt /opt/webui/ui-config.json
ln -s /tmp/webui-params.txt /opt/webui/params.txt
ln -s /tmp/webui-ui-config.json /opt/webui/ui-config.json
mkdir -p /opt/webui/config_states /opt/webui/models/Codeformer /opt/webui/models/GFPGAN
# Twice: as root, so that the WebUI and its extensions make the folders they want, then as the user that will run it,
# because what only root can read or write would be found too late.
check() { env HF_HOME=/opt/hub HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 "$@" /opt/webui-env/bin/python /tmp/check_webui.py --requirements /tmp/webui.in --cuda "${CUDA}"; }
check env
rm -rf /tmp/webui-*
/opt/webui-env/bin/python -m compileall -q -j 0 /opt/webui
chown -R worker:worker /opt/matplotlib
check env HOME=/home/worker setpriv --reuid=worker --regid=worker --init-groups
rm -rf /tmp/webui-*
EOF

# -------------------------------------------------------------------------------------------------------------- models

FROM worker-env AS baked
ARG BAKE UPSCALERS ANNOTATORS
WORKDIR /app
COPY models models
COPY worker worker
RUN --mount=type=cache,target=/cache --mount=type=secret,id=hf_token --mount=type=secret,id=civitai_token \
    --mount=type=bind,source=docker/bake.sh,target=/tmp/bake.sh \
    /tmp/bake.sh "${BAKE}" /cache /opt/models && \
    /tmp/bake.sh "${UPSCALERS}" /cache /opt/extra && \
    /tmp/bake.sh "${ANNOTATORS}" /cache /opt/extra

# -------------------------------------------------------------------------------------------------------------- worker

# A stage of this file, not an image.
# hadolint ignore=DL3006
FROM webui-${WEBUI} AS worker
ARG BAKE UPSCALERS ANNOTATORS
COPY --link --from=baked --chown=10001:10001 /opt/models /opt/models
COPY --link --from=baked --chown=10001:10001 /opt/extra /opt/extra
COPY --link --from=worker-env /opt/worker-env /opt/worker-env
WORKDIR /app
COPY LICENSE handler.py start.sh test_input.json ./
COPY --chown=worker:worker models models
COPY worker worker
RUN python -m compileall -q /app/worker /app/handler.py

# Baked models live on the container's disk; without any, the volume's folders are used (MODELS_DIR empty: by default).
ENV MODELS_DIR=${BAKE:+/opt/models} UPSCALER_DIR=${UPSCALERS:+/opt/extra/upscalers} \
    DETECTOR_DIR=${ANNOTATORS:+/opt/extra/detectors} ANNOTATOR_DIR=${ANNOTATORS:+/opt/extra/annotators}

ARG VERSION=0.1.0
ARG REVISION=""
LABEL org.opencontainers.image.title="a1111-worker" \
      org.opencontainers.image.description="Serverless GPU worker for AUTOMATIC1111's Stable Diffusion WebUI on RunPod" \
      org.opencontainers.image.licenses="MIT AND AGPL-3.0-only" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# No HEALTHCHECK: RunPod does not read it, and the worker ends with a non-zero exit when its WebUI is gone.
# No USER: start.sh leaves root as soon as the model folders allow it; RunPod mounts volumes owned by root (docs/deploy.md).
ENTRYPOINT ["tini", "--"]
CMD ["/app/start.sh"]
