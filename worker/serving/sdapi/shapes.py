"""Bodies of A1111's API to jobs, and answers of jobs to A1111's shapes. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from worker.contract.compat.webui_body import WEBUI_FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

WARNINGS_HEADER = "X-Worker-Warnings"
LONGEST_HEADER = 4000
"""Characters; proxies refuse answers with headers above 8 KB."""

_PICTURES = frozenset({"init_images", "mask", "latent_mask"})
_SAID_IN_INFO = ("prompt", "negative_prompt", "seed", "width", "height", "steps", "cfg_scale", "batch_size")
_INFO_OF_NOTHING: dict[str, Any] = {
    "prompt": "",
    "all_prompts": [],
    "negative_prompt": "",
    "all_negative_prompts": [],
    "seed": -1,
    "all_seeds": [],
    "subseed": -1,
    "all_subseeds": [],
    "width": 512,
    "height": 512,
    "infotexts": [],
    "index_of_first_image": 0,
    "sd_model_name": "",
    "sd_model_hash": "",
}
"""`info` of a job that was ended before any picture was made; clients read some of its parts unasked."""
_INFO_TEXTS = frozenset({"sd_model_hash", "sd_model_name"})
"""Parts of `info` that clients read as texts; A1111 leaves them null where it hashes no models."""
_ECHO_DEFAULTS: dict[str, Any] = {
    "batch_size": 1,
    "comments": None,
    "disable_extra_networks": False,
    "firstpass_image": None,
    "force_task_id": None,
    "infotext": None,
    "n_iter": 1,
    "refiner_checkpoint": None,
    "refiner_switch_at": None,
    "s_min_uncond": None,
    "script_name": None,
}
"""A1111's echo has all fields; these are not in that of a job that does not set them."""


def job_input(endpoint: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the input of the job that a POST to `endpoint` means."""
    return {"api": {"method": "POST", "endpoint": endpoint}, "payload": dict(payload)}


def with_inline_pictures(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return `payload` for an answer with its pictures in it: A1111's clients can't follow links."""
    output = payload.get("output")
    if "output" in payload and not isinstance(output, dict):
        return dict(payload)
    return {**payload, "output": {"delivery": "base64", **(output or {})}}


def picture_answer(answer: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer of txt2img and img2img: bare base64, the request's echo, `info` as JSON text.

    The echo says that nothing was saved: some clients expect a grid before the pictures otherwise.

    Args:
        answer: Of the job, in the form `api`.
        body: The request's, as the client sent it.
    """
    given, echo = answer.get("info") or {}, answer.get("parameters") or {}
    info = json.loads(given) if isinstance(given, str) else dict(given)
    info = info or {**_INFO_OF_NOTHING, **{name: body[name] for name in _SAID_IN_INFO if body.get(name) is not None}}
    info.update({name: "" for name in _INFO_TEXTS & info.keys() if info[name] is None})
    said = {name: value for name, value in body.items() if name in WEBUI_FIELDS}
    parameters = {**_ECHO_DEFAULTS, **echo, **{name: value for name, value in said.items() if value is not None}}
    parameters.update(dict.fromkeys(_PICTURES & parameters.keys()))
    if "alwayson_scripts" in parameters:
        parameters["alwayson_scripts"] = {}
    return {
        "images": list(answer.get("images") or ()) if body.get("send_images") is not False else [],
        "parameters": {**parameters, "save_images": False},
        "info": json.dumps(info, ensure_ascii=False),
    }


def warnings_header(warnings: list[str]) -> dict[str, str]:
    """Return the header that carries `warnings`: a JSON list in ASCII."""
    kept: list[str] = []
    for warning in warnings:
        if len(json.dumps([*kept, warning])) > LONGEST_HEADER:
            kept.append(f"{len(warnings) - len(kept)} more")
            break
        kept.append(warning)
    return {WARNINGS_HEADER: json.dumps(kept)} if kept else {}
