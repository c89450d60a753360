"""``.runpod/hub.json``: the listing on RunPod's Hub, made from the settings and the presets so that it can't drift."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.cli.deploy.deployment_presets import CUDA_VERSIONS, INIT_TIMEOUT_S, PRESETS
from worker.settings import variables

if TYPE_CHECKING:
    from worker.common.env_fields import Variable

_OF_THE_IMAGE = {"webui_dir", "webui_url", "webui_python", "webui_port", "out_dir"}
_BASIC = {
    "default_checkpoint",
    "civitai_token",
    "hf_token",
    "delivery",
    "bucket_endpoint_url",
    "bucket_access_key_id",
    "bucket_secret_access_key",
    "bucket_name",
}


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
    inputs = [
        (variable.attribute not in _BASIC, _input(variable))
        for variable in variables()
        if variable.attribute not in _OF_THE_IMAGE and not variable.attribute.startswith("runpod_")
    ]
    return [row for _, row in sorted(inputs, key=lambda item: item[0])]


def _input(variable: Variable) -> dict[str, Any]:
    key = variable.names[0]
    about: dict[str, Any] = {
        "name": key.replace("_", " ").capitalize(),
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
