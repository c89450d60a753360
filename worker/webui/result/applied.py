"""Models and values that made a picture, by the WebUI's answer and the picture's own infotext. Pure.

The infotext names what A1111 set out to do; that each of it came about is proven elsewhere (`outcome`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from worker.images import infotext
from worker.webui.names import lora_tags
from worker.webui.names.lora_tags import ChosenLora
from worker.webui.names.prompt_checks import names_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.images.formats.picture import Picture
    from worker.webui.names.catalog import Catalog, Checkpoint
    from worker.webui.names.name_resolver import Chosen
    from worker.webui.request.body import Request
    from worker.webui.result.response import WebUIResponse

_HIRES = {
    "Hires upscaler": ("upscaler", str),
    "Hires upscale": ("scale", float),
    "Hires steps": ("steps", int),
    "Denoising strength": ("denoising_strength", float),
    "Hires checkpoint": ("checkpoint", str),
    "Hires sampler": ("sampler", str),
    "Hires schedule type": ("scheduler", str),
    "Hires prompt": ("prompt", str),
    "Hires negative prompt": ("negative_prompt", str),
}
"""Name in the infotext → the key of `applied.hires`, and its type."""
_UNIT = re.compile(r"ControlNet (\d+)")
_CONTROL = {
    "Module": ("module", str),
    "Model": ("model", str),
    "Weight": ("weight", float),
    "Guidance Start": ("guidance_start", float),
    "Guidance End": ("guidance_end", float),
    "Control Mode": ("control_mode", str),
}
_ADETAILER = {
    "ADetailer model": ("model", str),
    "ADetailer confidence": ("confidence", float),
    "ADetailer denoising strength": ("denoising_strength", float),
    "ADetailer checkpoint": ("checkpoint", str),
    "ADetailer sampler": ("sampler", str),
}
_PASSES = ("", " 2nd", " 3rd", *(f" {number}th" for number in range(4, 11)))
"""Ends of the names of ADetailer's passes, the first without."""


def applied(
    answer: WebUIResponse, request: Request, pictures: Sequence[Picture], chosen: Chosen, catalog: Catalog
) -> dict[str, Any]:
    """Return the models and values that really made the pictures, by the WebUI's answer and the pictures' bytes."""
    info = answer.info
    sampler = str(info.get("sampler_name", ""))
    clip_skip = info.get("clip_skip")
    text = (answer.infotexts[answer.first :] or ("",))[0]
    extras = extras_of(text, catalog.embeddings)
    made = _which(info.get("sd_model_name"), request.expect.checkpoint, catalog)
    alone = extras["refiner"] is not None and extras["refiner"].get("switch_at") == 0
    return {
        "checkpoint": extras["refiner"]["checkpoint"] if alone else made,
        "checkpoint_hash": None if alone else info.get("sd_model_hash") or chosen.checkpoint_sha256,
        "vae": info.get("sd_vae_name"),
        "loras": [
            {"name": lora.name, "scale": lora.scale, "base_model": chosen.base_models.get(lora.name)}
            for lora in (*request.expect.loras, *_of_styles(answer, request))
        ],
        "sampler": sampler or None,
        "scheduler": catalog.samplers.effective(sampler, answer.schedule()),
        "clip_skip": int(clip_skip) if isinstance(clip_skip, (int, float)) else None,
        "size": {"width": pictures[0].width, "height": pictures[0].height} if pictures else None,
        **extras,
    }


def _which(said: Any, asked: Checkpoint, catalog: Catalog) -> Any:
    """Return the checkpoint by the name that the WebUI said, by its path where that name is another's too."""
    several = said == asked.stem and sum(each.stem == said for each in catalog.checkpoints) > 1
    return asked.place if several else said


def _of_styles(answer: WebUIResponse, request: Request) -> list[ChosenLora]:
    """Return the LoRAs that the prompt's styles brought along, by the prompt that the WebUI says it read."""
    if not request.body.get("styles") or request.body.get("disable_extra_networks") or not answer.prompts:
        return []
    brought = [tag for tag in lora_tags.parse(answer.prompts[0]) if tag.kind in lora_tags.LORA_KINDS]
    own = {lora.name for lora in request.expect.loras}
    return [ChosenLora(tag.name, tag.scale, "styles") for tag in brought if tag.name not in own]


def extras_of(text: str, embeddings: Iterable[str]) -> dict[str, Any]:
    """Return what beside checkpoint, VAE, LoRAs and sampler made the picture with this infotext.

    Args:
        text: The infotext.
        embeddings: Those that the WebUI has loaded for the checkpoint.
    """
    told = infotext.parse(text)
    fields = told.fields
    return {
        "refiner": _refiner(fields),
        "hires": _hires(fields),
        "embeddings": names_in((told.prompt, told.negative_prompt), embeddings),
        "controlnet": [
            _read(infotext.fields_of(value), _CONTROL) for name, value in fields.items() if _UNIT.fullmatch(name)
        ],
        "adetailer": _adetailer(fields),
    }


def _refiner(fields: Mapping[str, str]) -> dict[str, Any] | None:
    if "Refiner" not in fields:
        return None
    return _read(fields, {"Refiner": ("checkpoint", str), "Refiner switch at": ("switch_at", float)})


def _hires(fields: Mapping[str, str]) -> dict[str, Any] | None:
    if "Hires upscale" not in fields and "Hires resize" not in fields:
        return None
    found = _read(fields, _HIRES)
    width, _, height = fields.get("Hires resize", "").partition("x")
    if width.isdigit() and height.isdigit():
        found["width"], found["height"] = int(width), int(height)
    return found


def _adetailer(fields: Mapping[str, str]) -> list[dict[str, Any]]:
    found = []
    for ending in _PASSES:
        own = {name: fields[name + ending] for name in _ADETAILER if name + ending in fields}
        if "ADetailer model" in own:
            found.append(_read(own, _ADETAILER))
    return found


def _read(fields: Mapping[str, str], known: Mapping[str, tuple[str, type]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (key, kind) in known.items():
        if name not in fields:
            continue
        try:
            found[key] = kind(fields[name])
        except ValueError:
            found[key] = fields[name]
    return found
