"""``{"api": {"method", "endpoint"}, "payload": {…}}``: a request to the WebUI's API, by allow-list, answered raw.

What makes pictures goes through the same typed jobs as everything else; listings are read from the WebUI as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from worker.common.suggestions import nearest
from worker.contract.base.json_guard import is_name, shown
from worker.contract.base.neutral import says_nothing
from worker.contract.compat import webui_defaults
from worker.contract.compat.client_form import Form, Translation
from worker.contract.compat.webui_body import generation_answer
from worker.contract.compat.webui_types import TypedBody, read_types
from worker.contract.operator.apply_presets import FIELDS as PRESET_FIELDS
from worker.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from worker.contract.compat.client_form import Cache

_LONGEST_PATH = 500
LISTINGS = frozenset(
    {
        "cmd-flags",
        "embeddings",
        "extensions",
        "face-restorers",
        "hypernetworks",
        "latent-upscale-modes",
        "loras",
        "memory",
        "options",
        "prompt-styles",
        "realesrgan-models",
        "samplers",
        "schedulers",
        "script-info",
        "scripts",
        "sd-models",
        "sd-vae",
        "upscalers",
    }
)
_QUERIES = frozenset((name, value) for name in ("alias_names", "update") for value in ("true", "false", "1", "0"))
"""Settings of a listing's query that are handed on."""
EXTENSION_LISTINGS = frozenset(
    {
        "adetailer/v1/ad_model",
        "adetailer/v1/schema",
        "adetailer/v1/version",
        "controlnet/control_types",
        "controlnet/model_list",
        "controlnet/module_list",
        "controlnet/settings",
        "controlnet/version",
    }
)
"""Listings of extensions, which stand beside ``/sdapi/v1/``."""
_KINDS = {
    "controlnet/detect": "control_maps",
    "extra-single-image": "upscale",
    "interrogate": "interrogate",
    "png-info": "png_info",
}
_ANSWERED = {
    "controlnet/detect": ("images", "info", "poses", "tensor"),
    "interrogate": ("caption",),
    "png-info": ("info", "items", "parameters"),
}
_DIFFUSING = frozenset({"txt2img", "img2img"})
_ODD_NAMED = 5
_REFRESHED = {
    "refresh-checkpoints": "checkpoints",
    "refresh-embeddings": "embeddings",
    "refresh-loras": "loras",
    "refresh-vae": "vae",
}
_FOLDERS = {
    "lora": "loras",
    "stable-diffusion": "checkpoint",
    "checkpoints": "checkpoint",
    "vae": "vae",
    "embeddings": "embeddings",
}
_OBJECTS = ("accept", "hires", "outpaint", "output", "plot", "pool", "prompts", "refiner", "seeds", "tiles")
"""Fields of our jobs that are objects or lists, under names that other programs use for texts and switches."""
_NOT_OFFERED = {
    "options": "sets options for every later job; send override_settings (sd_model_checkpoint in it chooses the model) "
    "with each job that needs them",
    "v1/sync": "copies a whole repository; name the files in the job: hf:<org>/<repo>/<file>",
}
ENDPOINTS = frozenset({*LISTINGS, *EXTENSION_LISTINGS, *_KINDS, *_DIFFUSING, *_REFRESHED, *_NOT_OFFERED, "v1/download"})
"""Every endpoint that is known, without ``/sdapi/v1/``."""


class WebUIApiForm(Form):
    """A request to the WebUI's API: method, endpoint and payload."""

    name = "api"
    marks = frozenset({"api"})
    unknown_fields = "warn"
    lenient = True

    def translate(self, raw: dict[str, Any], presets: Collection[str]) -> Translation:
        """Return what `raw` means."""
        return to_job(raw)

    def answer(self, call: Translation, answer: Mapping[str, Any], cache: Cache) -> Any:
        """Return `answer` as the WebUI's own; `warnings`, where there are any, are added to it."""
        if "raw" in answer:
            return answer["raw"]
        warnings = answer.get("warnings")
        return {**_own_shape(call.request, answer), **({"warnings": list(warnings)} if warnings else {})}


WEBUI_API = WebUIApiForm()


def without_odd_names(raw: object, most: int) -> tuple[object, list[str]]:
    """Return an input without those fields of a payload that no program can read, and a warning of them.

    The WebUI passes them over like any other field that it does not know.

    Args:
        raw: Whatever was sent, in whatever form.
        most: Fields that are looked at; more are refused as they are.
    """
    payload = raw.get("payload") if isinstance(raw, dict) and "api" in raw else None
    if not isinstance(raw, dict) or not isinstance(payload, dict) or len(payload) > most:
        return raw, []
    odd = [name for name in payload if isinstance(name, str) and not is_name(name)]
    if not odd:
        return raw, []
    kept = {name: value for name, value in payload.items() if name not in set(odd)}
    names = ", ".join(map(shown, odd[:_ODD_NAMED])) + (", …" if len(odd) > _ODD_NAMED else "")
    return {**raw, "payload": kept}, [f"ignored, for no field can have such a name: {names}"]


def to_job(raw: Mapping[str, Any]) -> Translation:
    """Return what `raw` means.

    Raises:
        InvalidInput: an endpoint or a method that is not offered.
    """
    api = raw["api"]
    if not isinstance(api, dict):
        raise InvalidInput.at("api", f"must be an object with method and endpoint, not {shown(api)}")
    more = next((name for name in raw if name not in {"api", "payload"}), None)
    if more is not None:
        raise InvalidInput.at(more, "is not a field of this form; its fields are api and payload")
    endpoint, query = _endpoint(api)
    method = str(api.get("method") or "GET")[:10].upper()
    payload = raw.get("payload")
    if payload is None:
        payload = {}
    if not isinstance(payload, dict):
        raise InvalidInput.at("payload", f"must be an object, not {shown(payload)}")
    if method == "GET" and endpoint in LISTINGS | EXTENSION_LISTINGS:
        root = "" if endpoint in EXTENSION_LISTINGS else "sdapi/v1/"
        return Translation(listing=f"/{root}{endpoint}{query}", request=endpoint)
    if endpoint in _NOT_OFFERED and method == "POST":
        raise InvalidInput.at("api.endpoint", f"is not offered: it {_NOT_OFFERED[endpoint]}")
    if method != "POST" or endpoint in LISTINGS | EXTENSION_LISTINGS:
        right = "GET" if endpoint in LISTINGS | EXTENSION_LISTINGS else "POST"
        raise InvalidInput.at("api.method", f"must be {right} for {endpoint}, not {shown(api.get('method'))}")
    foreign = _foreign(payload)
    body = _body(endpoint, {name: value for name, value in payload.items() if name not in foreign})
    fields = _fields(endpoint, body.fields)
    told = [Problem(name, f"is not a field of the WebUI's API; {why}") for name, why in foreign.items()]
    return Translation(fields, root="payload", request=endpoint, warnings=body.warnings, unknown=told)


def _foreign(payload: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields whose names only our jobs read, with a value or at a place that is not meant for these."""
    kinds = dict.fromkeys(("type", "action"), "the endpoint says what is done")
    roles = dict.fromkeys(PRESET_FIELDS, "send the job itself as the input")
    given = {name: why for name, why in {**kinds, **roles}.items() if not says_nothing(payload.get(name))}
    texts = [name for name in _OBJECTS if isinstance(payload.get(name), (str, bool, int, float))]
    meant = [name for name in texts if not says_nothing(payload[name])]
    return {**given, **dict.fromkeys(meant, "in a job it is an object or a list")}


def _body(endpoint: str, payload: dict[str, Any]) -> TypedBody:
    """Return `payload` with its values as the WebUI reads them, and with its defaults where ours are others."""
    if endpoint == "extra-single-image":
        typed = read_types(payload)
        return TypedBody(webui_defaults.upscaling(typed.fields), typed.warnings)
    if endpoint not in _DIFFUSING:
        return TypedBody(payload)
    typed = read_types(payload)
    drawn = webui_defaults.drawing(typed.fields, from_picture=endpoint == "img2img")
    return TypedBody(drawn.fields, [*typed.warnings, *drawn.warnings])


def _own_shape(endpoint: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    if endpoint in _DIFFUSING:
        return generation_answer(answer)
    if endpoint == "extra-single-image":
        said = answer.get("info", {}).get("html_info", "")
        return {"html_info": said, "image": next(iter(answer.get("images", [])), "")}
    if endpoint in _ANSWERED:
        return {name: answer[name] for name in _ANSWERED[endpoint] if name in answer}
    return dict(answer)  # of a refresh too, of which the WebUI has none: RunPod loses an empty answer


def _endpoint(api: Mapping[str, Any]) -> tuple[str, str]:
    """Return the endpoint without ``/sdapi/v1/``, and those settings of its query that the WebUI has."""
    given = api.get("endpoint")
    if not isinstance(given, str):
        raise InvalidInput.at("api.endpoint", f"must be text, not {shown(given)}")
    path, _, query = given[:_LONGEST_PATH].strip().partition("?")
    endpoint = path.strip("/").removeprefix("sdapi/v1/")
    if endpoint not in ENDPOINTS:
        near = nearest(endpoint, sorted(ENDPOINTS))
        raise InvalidInput.at("api.endpoint", f"is not offered: {shown(given)}", near and f"/sdapi/v1/{near}")
    kept = [f"{name}={value}" for name, value in parse_qsl(query) if (name, value.lower()) in _QUERIES]
    return endpoint, f"?{'&'.join(kept)}" if kept else ""


def _fields(endpoint: str, payload: dict[str, Any]) -> dict[str, Any]:
    if endpoint in _REFRESHED:
        return {"type": "refresh", "what": [_REFRESHED[endpoint]]}
    if endpoint == "v1/download":
        return _download(payload)
    if endpoint == "controlnet/detect":
        return _control_maps(payload)
    if endpoint in _KINDS:
        return {**payload, "type": _KINDS[endpoint]}
    return {**payload, "type": "txt2img" if endpoint == "txt2img" else _from_picture(payload)}


def _from_picture(payload: Mapping[str, Any]) -> str:
    """Return the kind of job that `img2img` is asked for; without a picture to start from it is none."""
    return "inpaint" if payload.get("mask") or payload.get("outpaint") else "img2img"


def _control_maps(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the job of ``/controlnet/detect``, whose fields have a prefix and say -1 for what is not set."""
    fields = {name.removeprefix("controlnet_"): value for name, value in payload.items()}
    if "input_images" in fields:
        fields["images"] = fields.pop("input_images")
    given = {name: value for name, value in fields.items() if name != "low_vram" and value not in (-1, [])}
    return {"module": "none", **given, "type": "control_maps"}


def _download(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the prefetch of one file; its kind is read from the folder that the client names."""
    url, path = payload.get("source_url"), payload.get("download_path")
    if not isinstance(url, str) or not isinstance(path, str):
        raise InvalidInput.at("payload", "needs source_url and download_path, both text")
    if len(path) > _LONGEST_PATH:
        raise InvalidInput.at("payload.download_path", f"must have at most {_LONGEST_PATH} characters, not {len(path)}")
    folders = [part.lower() for part in path.strip("/").split("/")]
    kind = next((_FOLDERS[part] for part in reversed(folders) if part in _FOLDERS), None)
    if kind is None:
        wanted = ", ".join(sorted(_FOLDERS))
        raise InvalidInput.at("payload.download_path", f"must name a folder of models ({wanted}), not {shown(path)}")
    name = path.rstrip("/").rpartition("/")[2]
    model = {"name": name, "url": url} if "." in name else {"url": url}
    return {"type": "prefetch", kind: model if kind in {"checkpoint", "vae"} else [model]}
