"""Answers that are not what was asked for: the faults that spoil a finished result."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from .processing import make_grid

if TYPE_CHECKING:
    from .faults import Faults
    from .processing import Processed


def spoil(faults: Faults, result: Processed) -> None:
    """Changes pictures, count or info as the faults that are on say."""
    p = result.p
    for name, label, default in (
        ("wrong-model", "Model", "Other"),
        ("wrong-sampler", "Sampler", "DPM++ 2M"),
        ("wrong-scheduler", "Schedule type", "Karras"),
        ("wrong-vae", "VAE", "other.safetensors"),
    ):
        fault = faults.take(name)
        if fault is None:
            continue
        value = fault.text("name", default)
        if label == "Model":
            old, p.sd_model_name = p.sd_model_name, value
        elif label == "Sampler":
            old, p.sampler_name = p.sampler_name, value
        elif label == "VAE":
            old, p.sd_vae_name = p.sd_vae_name or "", value
        else:
            old = str(p.extra_generation_params.get(label) or p.scheduler)
            p.extra_generation_params[label] = value
        _rewrite(result, f"{label}: {old}", f"{label}: {value}")
    skip = faults.take("wrong-clip-skip")
    if skip is not None:
        p.clip_skip = int(skip.number("value", 3))
        _rewrite(result, ", Version:", f", Clip skip: {p.clip_skip}, Version:")
    if faults.take("wrong-seed"):
        for place, seed in enumerate(p.all_seeds):
            p.all_seeds[place] = seed + 1
            _rewrite(result, f"Seed: {seed}, ", f"Seed: {seed + 1}, ", only=place + result.index_of_first_image)
    _spoil_pictures(faults, result)


def damage(faults: Faults, images: list[str]) -> list[str]:
    """Breaks the first encoded picture where a fault says so."""
    if images and faults.take("truncated-picture"):
        data = base64.b64decode(images[0])
        images = [base64.b64encode(data[: max(60, len(data) // 2)]).decode("ascii"), *images[1:]]
    if images and faults.take("broken-base64"):
        images = ["%%% not base64 %%%", *images[1:]]
    return images


def _spoil_pictures(faults: Faults, result: Processed) -> None:
    images = result.images
    if images and faults.take("black"):
        images[0] = _like(Image.new("RGB", images[0].size), images[0])
    if images and faults.take("wrong-size"):
        images[0] = _like(images[0].crop((0, 0, max(8, images[0].width - 8), images[0].height)), images[0])
    if images and faults.take("grid-first"):
        images.insert(0, _like(make_grid(list(images)), images[0]))
        result.infotexts.insert(0, result.infotexts[0])
        result.index_of_first_image = 1
    if images and faults.take("missing-picture"):
        images.pop()
    if images and faults.take("extra-picture"):
        images.append(_like(ImageOps.mirror(images[-1]), images[-1]))


def _like(image: Image.Image, original: Image.Image) -> Image.Image:
    image.info = dict(original.info)
    return image


def _rewrite(result: Processed, old: str, new: str, *, only: int | None = None) -> None:
    for place, text in enumerate(result.infotexts):
        if only in (None, place):
            result.infotexts[place] = text.replace(old, new)
    for place, image in enumerate(result.images):
        if only in (None, place) and "parameters" in image.info:
            image.info["parameters"] = image.info["parameters"].replace(old, new)
            mirrored = ImageOps.mirror(image)
            mirrored.info = image.info
            result.images[place] = mirrored
