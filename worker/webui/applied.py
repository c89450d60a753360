"""Refiner, hires pass, embeddings, ControlNet and ADetailer of a finished picture, by its own infotext. Pure.

The infotext names what A1111 set out to do; that each of it came about is proven elsewhere (`outcome`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from worker.images import infotext
from worker.webui.prompts import names_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

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
