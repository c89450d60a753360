"""Answers that are not what was asked for: the faults that spoil a finished result."""

from __future__ import annotations

import base64
import random
import re
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from standin.generation.processing import make_grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from standin.faults.switches import Faults
    from standin.generation.job import Processed

IN_INFO = {
    "Steps": "steps",
    "CFG scale": "cfg_scale",
    "Denoising strength": "denoising_strength",
    "Variation seed strength": "subseed_strength",
}
"""Parameters of the infotext that `info` has too, by key."""


def spoil(faults: Faults, result: Processed) -> None:
    """Changes pictures, count or info as the faults that are on say."""
    settings, extra = result.settings, result.extra_generation_params
    for name, label, key, default in (
        ("wrong-model", "Model", "sd_model_name", "Other"),
        ("wrong-sampler", "Sampler", "sampler_name", "DPM++ 2M"),
        ("wrong-vae", "VAE", "sd_vae_name", "other.safetensors"),
    ):
        fault = faults.take(name)
        if fault is not None:
            old, settings[key] = settings[key], fault.text("name", default)
            _rewrite(result, f"{label}: {old}", f"{label}: {settings[key]}")
    scheduler = faults.take("wrong-scheduler")
    if scheduler is not None:
        extra["Schedule type"] = scheduler.text("name", "Karras")
        found = re.search("Schedule type: [^,]*", str(result.infotexts[0]))
        _rewrite(result, found[0] if found else "", f"Schedule type: {extra['Schedule type']}")
    skip = faults.take("wrong-clip-skip")
    if skip is not None:
        result.clip_skip = int(skip.number("value", 3))
        _rewrite(result, ", Version:", f", Clip skip: {result.clip_skip}, Version:")
    if faults.take("wrong-seed"):
        result.seed += 1
        for place, seed in enumerate(result.all_seeds):
            result.all_seeds[place] = seed + 1
            _rewrite(result, f"Seed: {seed}, ", f"Seed: {seed + 1}, ", only=place + result.index_of_first_image)
    _spoil_parameters(faults, result)
    _spoil_prompts(faults, result)
    _spoil_pictures(faults, result)


def _spoil_parameters(faults: Faults, result: Processed) -> None:
    wrong = faults.take("wrong-parameter")
    if wrong is not None:
        name, value = wrong.text("name", "Steps"), wrong.text("value", "3")
        key = IN_INFO.get(name)
        if key is not None:
            result.settings[key] = float(value)
        if name in result.extra_generation_params:
            result.extra_generation_params[name] = value
        _rewrite_parameter(result, name, value)
    notes = faults.take("wrong-notes")
    if notes is not None:
        kept = list(result.infotexts)
        _rewrite_parameter(result, notes.text("name", "Steps"), notes.text("value", "3"))
        result.infotexts[:] = kept
    lost = faults.take("lost-parameter")
    if lost is not None:
        name = lost.text("name", "Refiner")
        result.extra_generation_params.pop(name, None)
        _rewrite_parameter(result, name, None)


def _rewrite_parameter(result: Processed, name: str, value: str | None) -> None:
    for text in dict.fromkeys(result.infotexts):
        found = re.search(rf"{re.escape(name)}: [^,\n]*, ", text)
        if found is not None:
            _rewrite(result, found[0], f"{name}: {value}, " if value is not None else "")


def _spoil_prompts(faults: Faults, result: Processed) -> None:
    wrong = faults.take("wrong-prompt")
    if wrong is not None:
        _reread(result, result.all_prompts, lambda _: wrong.text("text", "a dog"))
    negative = faults.take("wrong-negative")
    if negative is not None:
        _reread(result, result.all_negative_prompts, lambda _: negative.text("text", "a dog"))
    if faults.take("lost-style"):
        _reread(result, result.all_prompts, lambda _: str(result.prompt))
    if faults.take("lost-tag"):
        _reread(result, result.all_prompts, lambda text: re.sub(r"\s*<lora:[^>]*>", "", text, count=1))


def _reread(result: Processed, prompts: list[Any], change: Callable[[str], str]) -> None:
    for place, text in enumerate(prompts):
        prompts[place] = change(text)
        if text:
            _rewrite(result, text, prompts[place])


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
    if images and faults.take("white"):
        images[0] = _like(Image.new("RGB", images[0].size, "white"), images[0])
    if images and faults.take("noise"):
        width, height = images[0].size
        noise = Image.frombytes("RGB", (width, height), random.Random(0).randbytes(3 * width * height))  # noqa: S311 # repeatable, not secret
        images[0] = _like(noise, images[0])
    if images:
        images[0] = crop(faults, images[0])
    if images and faults.take("grid-first"):
        images.insert(0, _like(make_grid(list(images)), images[0]))
        result.infotexts.insert(0, result.infotexts[0])
        result.index_of_first_image = 1
    if images and faults.take("missing-picture"):
        images.pop()
    if len(images) > len(result.infotexts) and faults.take("lost-map"):
        images.pop()
    if images and faults.take("extra-picture"):
        images.append(_like(ImageOps.mirror(images[-1]), images[-1]))


def crop(faults: Faults, image: Image.Image) -> Image.Image:
    """The picture, 8 pixels narrower where a fault says so."""
    if not faults.take("wrong-size"):
        return image
    return _like(image.crop((0, 0, max(8, image.width - 8), image.height)), image)


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
