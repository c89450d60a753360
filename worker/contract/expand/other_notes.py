"""Notes that other programs write into their pictures, as far as their parameters mean the same here. Pure.

SwarmUI and Fooocus write JSON where A1111 writes its infotext; NovelAI, InvokeAI and ComfyUI have texts of their own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_LONGEST = 1_000_000
_PAIR = re.compile(r"\(?\s*(\d{2,5})\s*[,x\u00d7]\s*(\d{2,5})\s*\)?")


@dataclass(frozen=True, slots=True)
class OtherNotes:
    """The notes of another program.

    Attributes:
        program: Who wrote them.
        job: The fields that mean the same here.
        lost: Names of what can't be carried over.
        parameters: All that was read, flat.
    """

    program: str
    job: dict[str, Any]
    lost: tuple[str, ...] = ()
    parameters: dict[str, Any] = field(default_factory=dict)


def read_other_notes(  # noqa: PLR0911 - one program after the other
    infotext: str, notes: Mapping[str, str]
) -> OtherNotes | None:
    """Return what another program wrote into a picture, None where no other one is recognised.

    Args:
        infotext: The text where A1111 writes its own.
        notes: The texts of the file by name.
    """
    told = _object(infotext)
    if told is not None and isinstance(told.get("sui_image_params"), dict):
        return _read("SwarmUI", told["sui_image_params"], _SWARM)
    if told is not None and (
        told.get("metadata_scheme") == "fooocus" or "fooocus_scheme" in notes or _is_fooocus(told)
    ):
        return _read("Fooocus", told, _FOOOCUS)
    comment = _object(notes.get("Comment", ""))
    if comment is not None and ("uc" in comment or notes.get("Software") == "NovelAI"):
        described = notes.get("Description")
        return _read("NovelAI", {**({"prompt": described} if described else {}), **comment}, _NOVEL)
    invoke = next((found for name in _INVOKE_NOTES if (found := _object(notes.get(name, ""))) is not None), None)
    if invoke is not None:
        return _read("InvokeAI", _flat_invoke(invoke), _INVOKE)
    graph = _object(notes.get("prompt", ""))
    if graph is not None or "workflow" in notes:
        return _comfy(graph or {})
    if told is not None:
        return OtherNotes("another program", {}, tuple(told), told)
    return None


def _text(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _model(value: Any) -> Any:
    if isinstance(value, dict):
        value = value.get("name") or value.get("model_name") or value.get("key")
    return value.replace("\\", "/").rpartition("/")[2] if isinstance(value, str) and value else None


def _whole(value: Any) -> Any:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _guidance(value: Any) -> Any:
    number = _number(value)
    return None if number is None else max(number, 1.0)


_SWARM: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "prompt": ("prompt", _text),
    "negativeprompt": ("negative_prompt", _text),
    "model": ("checkpoint", _model),
    "seed": ("seed", _whole),
    "steps": ("steps", _whole),
    "cfgscale": ("cfg_scale", _guidance),
    "width": ("width", _whole),
    "height": ("height", _whole),
    "sampler": ("sampler_name", _text),
    "scheduler": ("scheduler", _text),
    "vae": ("vae", _model),
    "clipstopatlayer": ("", _whole),
    "variationseed": ("subseed", _whole),
    "variationseedstrength": ("subseed_strength", _number),
}
_FOOOCUS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "prompt": ("prompt", _text),
    "negative_prompt": ("negative_prompt", _text),
    "base_model": ("checkpoint", _model),
    "base_model_name": ("checkpoint", _model),
    "seed": ("seed", _whole),
    "steps": ("steps", _whole),
    "guidance_scale": ("cfg_scale", _guidance),
    "resolution": ("size", _text),
    "sampler": ("sampler_name", _text),
    "scheduler": ("scheduler", _text),
    "vae": ("vae", _model),
}
_NOVEL: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "prompt": ("prompt", _text),
    "uc": ("negative_prompt", _text),
    "seed": ("seed", _whole),
    "steps": ("steps", _whole),
    "scale": ("cfg_scale", _guidance),
    "width": ("width", _whole),
    "height": ("height", _whole),
    "sampler": ("sampler_name", _text),
    "noise_schedule": ("scheduler", _text),
}
_INVOKE_NOTES = ("invokeai_metadata", "sd-metadata", "dream_metadata")
_INVOKE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "positive_prompt": ("prompt", _text),
    "prompt": ("prompt", _text),
    "negative_prompt": ("negative_prompt", _text),
    "model": ("checkpoint", _model),
    "model_weights": ("checkpoint", _model),
    "seed": ("seed", _whole),
    "steps": ("steps", _whole),
    "cfg_scale": ("cfg_scale", _guidance),
    "width": ("width", _whole),
    "height": ("height", _whole),
    "scheduler": ("sampler_name", _text),
    "sampler": ("sampler_name", _text),
    "vae": ("vae", _model),
}
_BOOKKEEPING = frozenset(
    {
        "app_version", "created_by", "date", "generation_mode", "generation_time", "image", "metadata_scheme",
        "original_prompt", "performance", "rand_device", "request_type", "signed_hash", "swarm_version", "version",
    }
)  # fmt: skip
"""Names that say nothing about how the picture looks."""
_SAMPLERS = {
    "ddim": "DDIM",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_2m_sde_gpu": "DPM++ 2M SDE",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
    "dpmpp_3m_sde_gpu": "DPM++ 3M SDE",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_sde_gpu": "DPM++ SDE",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "euler": "Euler",
    "euler_a": "Euler a",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "lcm": "LCM",
    "lms": "LMS",
    "uni_pc": "UniPC",
    "unipc": "UniPC",
}
"""Names of samplers in ComfyUI's family and InvokeAI → the WebUI's."""


def _read(program: str, told: Mapping[str, Any], names: Mapping[str, tuple[str, Callable[[Any], Any]]]) -> OtherNotes:
    """Return the notes of `program`, of which `names` mean the same here."""
    job: dict[str, Any] = {}
    lost: list[str] = []
    for name, value in told.items():
        target, read = names.get(name, ("", _text))
        found = read(value) if target else None
        if target == "size" and found is not None:
            pair = _PAIR.fullmatch(found.strip())
            if pair is not None:
                job["width"], job["height"] = int(pair[1]), int(pair[2])
                continue
            found = None
        if target == "sampler_name" and found is not None:
            found, schedule = _sampler(found)
            if schedule:
                job.setdefault("scheduler", schedule)
        if found is None or found == "":
            if name not in _BOOKKEEPING and value not in (None, "", [], {}, False):
                lost.append(name)
        else:
            job[target] = found
    return OtherNotes(program, job, tuple(lost), dict(told))


def _sampler(name: str) -> tuple[str, str | None]:
    """Return the WebUI's name of a sampler, and the noise schedule that the name holds."""
    plain = name.removeprefix("k_").lower()
    bare = plain.removesuffix("_k").removesuffix("_karras")
    return _SAMPLERS.get(bare, name), ("Karras" if bare != plain else None)


def _is_fooocus(told: Mapping[str, Any]) -> bool:
    return {"prompt", "performance"} <= told.keys() or "Fooocus V2 Expansion" in told or "full_prompt" in told


def _flat_invoke(told: dict[str, Any]) -> dict[str, Any]:
    """Return InvokeAI's notes without the levels of its older versions."""
    image = told.get("image")
    if isinstance(image, dict):
        told = {**{name: value for name, value in told.items() if name != "image"}, **image}
    prompt = told.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], dict):
        told = {**told, "prompt": prompt[0].get("prompt")}
    return told


def _comfy(graph: Mapping[str, Any]) -> OtherNotes:
    """Return what the one sampler of a ComfyUI graph says; a graph with several is only named."""
    nodes = {
        key: node for key, node in graph.items() if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
    }
    samplers = [node["inputs"] for node in nodes.values() if str(node.get("class_type", "")).startswith("KSampler")]
    if len(samplers) != 1:
        return OtherNotes("ComfyUI", {}, ("workflow",))
    told = samplers[0]
    job: dict[str, Any] = {}
    for ours, theirs in (("prompt", "positive"), ("negative_prompt", "negative")):
        text = _linked(nodes, told.get(theirs)).get("text")
        if isinstance(text, str):
            job[ours] = text
    size = _linked(nodes, told.get("latent_image"))
    model = _linked(nodes, told.get("model")).get("ckpt_name")
    values = {
        "checkpoint": _model(model),
        "seed": _whole(told.get("seed", told.get("noise_seed"))),
        "steps": _whole(told.get("steps")),
        "cfg_scale": _guidance(told.get("cfg")),
        "scheduler": _text(told.get("scheduler")),
        "width": _whole(size.get("width")),
        "height": _whole(size.get("height")),
    }
    job |= {name: value for name, value in values.items() if value is not None}
    if isinstance(told.get("sampler_name"), str):
        job["sampler_name"] = _sampler(told["sampler_name"])[0]
    return OtherNotes("ComfyUI", job, ("workflow",), {name: value for name, value in told.items() if value != []})


def _linked(nodes: Mapping[str, Any], link: Any) -> Mapping[str, Any]:
    """Return the inputs of the node that a link leads to, none where it leads nowhere."""
    node = nodes.get(str(link[0])) if isinstance(link, list) and link else None
    return node["inputs"] if node is not None else {}


def _object(text: str) -> dict[str, Any] | None:
    if text.lstrip()[:1] != "{" or len(text) > _LONGEST:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found else None
