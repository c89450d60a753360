"""From what a picture's notes say to the job that makes it again. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SIZE = re.compile(r"\s*(\d{1,5})\s*x\s*(\d{1,5})\s*")


def _whole(text: str) -> int:
    return int(text.strip())


def _number(text: str) -> float:
    return float(text)


def _text(text: str) -> str:
    return text


def _flag(text: str) -> bool:
    return text.strip().lower() == "true"


_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "Steps": ("steps", _whole),
    "Sampler": ("sampler_name", _text),
    "Schedule type": ("scheduler", _text),
    "CFG scale": ("cfg_scale", _number),
    "Seed": ("seed", _whole),
    "Model": ("checkpoint", _text),
    "VAE": ("vae", _text),
    "Clip skip": ("clip_skip", _whole),
    "Tiling": ("tiling", _flag),
    "Variation seed": ("subseed", _whole),
    "Variation seed strength": ("subseed_strength", _number),
    "Denoising strength": ("denoising_strength", _number),
    "Eta": ("eta", _number),
    "Sigma churn": ("s_churn", _number),
    "Sigma tmin": ("s_tmin", _number),
    "Sigma tmax": ("s_tmax", _number),
    "Sigma noise": ("s_noise", _number),
    "Refiner": ("refiner_checkpoint", _text),
    "Refiner switch at": ("refiner_switch_at", _number),
    "Hires upscale": ("hr_scale", _number),
    "Hires steps": ("hr_second_pass_steps", _whole),
    "Hires upscaler": ("hr_upscaler", _text),
    "Hires checkpoint": ("hr_checkpoint_name", _text),
    "Hires sampler": ("hr_sampler_name", _text),
    "Hires schedule type": ("hr_scheduler", _text),
    "Hires prompt": ("hr_prompt", _text),
    "Hires negative prompt": ("hr_negative_prompt", _text),
}
"""Name in the WebUI's infotext → the job's field and how its value is read."""

_OPTIONS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "ENSD": ("eta_noise_seed_delta", _whole),
    "RNG": ("randn_source", _text),
    "NGMS": ("s_min_uncond", _number),
    "Token merging ratio": ("token_merging_ratio", _number),
    "Token merging ratio hr": ("token_merging_ratio_hr", _number),
    "Emphasis": ("emphasis", _text),
}
_PAIRS = {
    "Size": ("width", "height"),
    "Hires resize": ("hr_resize_x", "hr_resize_y"),
    "Seed resize from": ("seed_resize_from_w", "seed_resize_from_h"),
}


def job_from(prompt: str, negative_prompt: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the input of a job that makes the picture with these notes again, as far as they tell.

    LoRAs stand in the prompt as tags. Values that can't be read are left out.
    """
    job: dict[str, Any] = {"prompt": prompt}
    if negative_prompt:
        job["negative_prompt"] = negative_prompt
    for name, (field, read) in _FIELDS.items():
        _put(job, field, fields.get(name), read)
    for name, (across, down) in _PAIRS.items():
        match = _SIZE.fullmatch(fields.get(name, ""))
        if match:
            job[across], job[down] = int(match[1]), int(match[2])
    options: dict[str, Any] = {}
    for name, (option, read) in _OPTIONS.items():
        _put(options, option, fields.get(name), read)
    if options:
        job["override_settings"] = options
    if any(field.startswith("hr_") for field in job):
        job["enable_hr"] = True
    return job


def _put(job: dict[str, Any], field: str, text: str | None, read: Callable[[str], Any]) -> None:
    if text is None or not text.strip():
        return
    try:
        job[field] = read(text)
    except ValueError:
        return
