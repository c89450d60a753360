"""``.runpod/hub.json``: the listing on RunPod's Hub, made from the settings and the presets so that it can't drift."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.cli.deploy.deployment_presets import CUDA_VERSIONS, INIT_TIMEOUT_S, PRESETS
from worker.settings import variables

if TYPE_CHECKING:
    from worker.settings.env_fields import Variable

_OF_THE_IMAGE = {"webui_dir", "webui_url", "webui_python", "webui_port", "out_dir"}
_OF_THE_PLATFORM = {"nvidia_visible_devices", "port_health", "health_check_path"}
_BASIC = {
    "default_checkpoint": "Checkpoint loaded at start",
    "civitai_token": "CivitAI token",
    "hf_token": "Hugging Face token",
    "delivery": "How pictures are returned",
    "bucket_endpoint_url": "S3 endpoint URL",
    "bucket_access_key_id": "S3 access key ID",
    "bucket_secret_access_key": "S3 secret access key",
    "bucket_name": "S3 bucket",
    "webui_args": "More WebUI arguments",
    "max_pixels": "Largest batch (pixels)",
    "job_timeout_s": "Time limit for a job (seconds)",
    "concurrency": "Jobs held at once",
}
"""The inputs that most people need, with the words that they use for them; all others are behind "advanced"."""
_WORDS = {
    "api": "API",
    "args": "arguments",
    "bucket": "S3",
    "cors": "CORS",
    "dir": "folder",
    "gpu": "GPU",
    "hf": "Hugging Face",
    "hub": "Hugging Face",
    "http": "HTTP",
    "lora": "LoRA",
    "max": "maximum",
    "controlnet": "ControlNet",
    "url": "URL",
    "vae": "VAE",
    "vram": "VRAM",
    "webui": "WebUI",
}
_UNITS = {"s": "(seconds)", "bytes": "(bytes)", "pixels": "(pixels)"}


def render() -> str:
    """Return the file's text."""
    listing = {
        "title": "AUTOMATIC1111 Stable Diffusion WebUI",
        "description": (
            "Text-to-image with the AUTOMATIC1111 WebUI, SD 1.5 and SDXL: any checkpoint and LoRA by name, "
            "answers proven against the picture, S3 or base64, errors that say what to change."
        ),
        "type": "serverless",
        "category": "image",
        "config": {
            "runsOn": "GPU",
            "containerDiskInGb": 30,
            "gpuCount": 1,
            "gpuIds": "ADA_24,AMPERE_24,AMPERE_48,ADA_48_PRO,AMPERE_16",
            "allowedCudaVersions": list(reversed(CUDA_VERSIONS)),
            "presets": [{"name": preset.title, "defaults": dict(preset.environment)} for preset in PRESETS.values()],
            "env": [{"key": "RUNPOD_INIT_TIMEOUT", "value": str(INIT_TIMEOUT_S)}, *environment()],
        },
    }
    return json.dumps(listing, indent=2, ensure_ascii=False) + "\n"


def environment() -> list[dict[str, Any]]:
    """Return one input per variable that an operator may set, everyday ones first."""
    order = list(_BASIC)
    inputs = [
        (order.index(variable.attribute) if variable.attribute in _BASIC else len(order), _input(variable))
        for variable in variables()
        if variable.attribute not in _OF_THE_IMAGE | _OF_THE_PLATFORM and not variable.attribute.startswith("runpod_")
    ]
    return [row for _, row in sorted(inputs, key=lambda item: item[0])]


def _label(key: str) -> str:
    """Return a variable's name in words: ``Boot timeout (seconds)`` for ``BOOT_TIMEOUT_S``."""
    *words, last = key.lower().split("_")
    told = " ".join([*(_WORDS.get(word, word) for word in words), _UNITS.get(last) or _WORDS.get(last, last)])
    return told[0].upper() + told[1:]


def _input(variable: Variable) -> dict[str, Any]:
    key = variable.names[0]
    about: dict[str, Any] = {
        "name": _BASIC.get(variable.attribute) or _label(key),
        "type": {"bool": "boolean", "integer": "number", "number": "number"}.get(variable.kind, "string"),
        "description": variable.description + (f" In {variable.unit}." if variable.unit else ""),
    }
    if variable.choices:
        about["options"] = [{"label": choice, "value": choice} for choice in variable.choices]
    for bound, word in (("ge", "min"), ("gt", "min"), ("le", "max")):
        if bound in variable.limits:
            about[word] = variable.limits[bound]
    if about["type"] == "boolean":
        about |= {"trueValue": "true", "falseValue": "false", "default": variable.default}
    elif variable.default is not None:
        about["default"] = variable.default if about["type"] == "number" else str(variable.default)
    return {"key": key, "input": {**about, "advanced": variable.attribute not in _BASIC}}
