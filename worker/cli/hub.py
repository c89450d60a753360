"""``.runpod/hub.json``: the listing on RunPod's Hub, made from the settings and the presets so that it can't drift."""

from __future__ import annotations

import json
from typing import Any, Literal, get_origin

from pydantic import AliasChoices, SecretStr

from worker.cli.presets import CUDA_VERSIONS, PRESETS
from worker.settings import Settings

INIT_TIMEOUT_S = 900
"""RUNPOD_INIT_TIMEOUT: RunPod gives up on a worker that is not ready after 7 minutes, ours may take BOOT_TIMEOUT_S."""

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
        (name not in _BASIC, _input(name, field))
        for name, field in Settings.model_fields.items()
        if name not in _OF_THE_IMAGE and not name.startswith("runpod_")
    ]
    return [row for _, row in sorted(inputs, key=lambda item: item[0])]


def _input(name: str, field: Any) -> dict[str, Any]:
    alias = field.validation_alias
    key = str(alias.choices[0]) if isinstance(alias, AliasChoices) else str(alias)
    unit = (field.json_schema_extra or {}).get("unit")
    about: dict[str, Any] = {
        "name": key.replace("_", " ").capitalize(),
        "type": _type(field.annotation),
        "description": field.description + (f" In {unit}." if unit else ""),
    }
    if get_origin(field.annotation) is Literal:
        about["options"] = [{"label": str(choice), "value": str(choice)} for choice in field.annotation.__args__]
    for rule in field.metadata:
        for bound, word in (("ge", "min"), ("gt", "min"), ("le", "max")):
            if getattr(rule, bound, None) is not None:
                about[word] = getattr(rule, bound)
    if about["type"] == "boolean":
        about |= {"trueValue": "true", "falseValue": "false", "default": field.default}
    elif field.default is not None and SecretStr not in getattr(field.annotation, "__args__", ()):
        about["default"] = field.default if about["type"] == "number" else str(field.default)
    return {"key": key, "input": {**about, "advanced": name not in _BASIC}}


def _type(annotation: Any) -> str:
    if annotation is bool:
        return "boolean"
    return "number" if annotation in {int, float} else "string"
