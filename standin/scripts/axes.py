"""The axes of the x/y/z plot: what their values are and what a value changes."""

from __future__ import annotations

import csv
import io
import itertools
import re
from typing import TYPE_CHECKING, Any

from ..errors import WebUIError
from ..samplers import SAMPLERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..job import Processing
    from ..webui import WebUI

RANGE = re.compile(r"\s*([+-]?\s*\d+(?:\.\d*)?)\s*-\s*([+-]?\s*\d+(?:\.\d*)?)(?:\s*\(([+-]\d+(?:\.\d*)?)\s*\))?\s*")
COUNTED = re.compile(r"\s*([+-]?\s*\d+(?:\.\d*)?)\s*-\s*([+-]?\s*\d+(?:\.\d*)?)(?:\s*\[(\d+)\s*])?\s*")
WHOLE = frozenset({"Seed", "Var. seed", "Steps", "Hires steps", "Clip skip", "UniPC Order"})
TEXTS = frozenset(
    {
        "Nothing",
        "Prompt S/R",
        "Prompt order",
        "Sampler",
        "Hires sampler",
        "Checkpoint name",
        "Schedule type",
        "Hires upscaler",
    }
    | {
        "VAE",
        "Styles",
        "Face restore",
        "Always discard next-to-last sigma",
        "SGM noise multiplier",
        "Refiner checkpoint",
    }
    | {"RNG source", "FP8 mode", "Size"}
)
CHOSEN = TEXTS - {"Nothing", "Prompt S/R", "Prompt order", "Face restore", "Size"}
"""Axes whose values come as a list, and as text only in CSV mode."""
FIELDS = {
    "Var. strength": "subseed_strength",
    "Hires steps": "hr_second_pass_steps",
    "CFG Scale": "cfg_scale",
    "Image CFG Scale": "image_cfg_scale",
    "Hires sampler": "hr_sampler_name",
    "Negative Guidance minimum sigma": "s_min_uncond",
    "Sigma Churn": "s_churn",
    "Sigma min": "s_tmin",
    "Sigma max": "s_tmax",
    "Sigma noise": "s_noise",
    "Eta": "eta",
    "Denoising": "denoising_strength",
    "Initial noise multiplier": "initial_noise_multiplier",
    "Hires upscaler": "hr_upscaler",
    "Refiner checkpoint": "refiner_checkpoint",
    "Refiner switch at": "refiner_switch_at",
}
OWN = {
    "Seed": "seed",
    "Var. seed": "subseed",
    "Steps": "steps",
    "Sampler": "sampler_name",
    "Schedule type": "scheduler",
}
OVERRIDES = {
    "Schedule min sigma": "sigma_min",
    "Schedule max sigma": "sigma_max",
    "Schedule rho": "rho",
    "Beta schedule alpha": "beta_dist_alpha",
    "Beta schedule beta": "beta_dist_beta",
    "Clip skip": "CLIP_stop_at_last_layers",
    "Extra noise": "img2img_extra_noise",
    "Token merging ratio": "token_merging_ratio",
    "Token merging ratio high-res": "token_merging_ratio_hr",
    "RNG source": "randn_source",
    "FP8 mode": "fp8_storage",
    "UniPC Order": "uni_pc_order",
}
SWITCHES = {
    "Always discard next-to-last sigma": "always_discard_next_to_last_sigma",
    "SGM noise multiplier": "sgm_noise_multiplier",
}
NO_NAME = (None, "", "None", "none")
SAMPLER_NAMES = frozenset(name.lower() for sampler in SAMPLERS for name in (sampler.name, *sampler.aliases))


def values_of(webui: WebUI, label: str, text: str, chosen: list[Any], *, as_csv: bool) -> tuple[list[Any], str]:
    """The values of an axis, and the text that the infotext shows for them.

    Raises WebUIError for values that are no numbers and names that do not exist.
    """
    if label == "Nothing":
        return [0], text
    if label in CHOSEN and not as_csv:
        buffer = io.StringIO()
        csv.writer(buffer).writerow(chosen)
        text = buffer.getvalue().strip()
        values: list[Any] = list(chosen)
    else:
        values = [
            part.strip() for part in itertools.chain.from_iterable(csv.reader(io.StringIO(text), skipinitialspace=True))
        ]
    if label == "Prompt order":
        return [list(order) for order in itertools.permutations(values)], text
    if label not in TEXTS:
        kind: Callable[[Any], Any] = int if label in WHOLE else float
        values = [number for value in values if str(value).strip() for number in _numbers(str(value), kind)]
    _confirm(webui, label, values)
    return values, text


def _numbers(text: str, kind: Callable[[Any], Any]) -> list[Any]:
    match, counted = RANGE.fullmatch(text), COUNTED.fullmatch(text)
    try:
        if match is not None:
            start, end = kind(match[1].replace(" ", "")), kind(match[2].replace(" ", ""))
            step = kind(match[3]) if match[3] is not None else 1
            count = int((end - start) / step) + 1
            return [kind(start + place * step) for place in range(max(0, count))]
        if counted is not None:
            start, end, count = (
                kind(counted[1].replace(" ", "")),
                kind(counted[2].replace(" ", "")),
                int(counted[3] or 1),
            )
            return [kind(start + (end - start) * place / max(1, count - 1)) for place in range(count)]
        return [kind(text)]
    except ValueError as error:
        raise WebUIError("ValueError", str(error)) from None


def _confirm(webui: WebUI, label: str, values: list[Any]) -> None:
    for value in values:
        if label in ("Sampler", "Hires sampler") and str(value).lower() not in SAMPLER_NAMES:
            raise WebUIError("RuntimeError", f"Unknown sampler: {value}")
        checkpoint = label == "Checkpoint name" or (label == "Refiner checkpoint" and value not in NO_NAME)
        if checkpoint and webui.checkpoints.closest(str(value)) is None:
            raise WebUIError("RuntimeError", f"Unknown checkpoint: {value}")


def apply(webui: WebUI, p: Processing, label: str, value: Any, values: list[Any]) -> None:
    """Changes the request as one value of an axis says."""
    if label in OWN:
        setattr(p, OWN[label], value)
    elif label in FIELDS:
        p.set(FIELDS[label], value)
    elif label in OVERRIDES:
        p.override_settings[OVERRIDES[label]] = value
    elif label in SWITCHES:
        p.override_settings[SWITCHES[label]] = str(value).lower() == "true"
    elif label in _SPECIAL:
        _SPECIAL[label](webui, p, value, values)


def _replace(_webui: WebUI, p: Processing, value: Any, values: list[Any]) -> None:
    if values[0] not in p.prompt and values[0] not in p.negative_prompt:
        raise WebUIError("RuntimeError", f"Prompt S/R did not find {values[0]} in prompt or negative prompt.")
    p.prompt = p.prompt.replace(values[0], value)
    p.negative_prompt = p.negative_prompt.replace(values[0], value)


def _reorder(_webui: WebUI, p: Processing, value: Any, _values: list[Any]) -> None:
    found = sorted(value, key=p.prompt.find)
    rebuilt, rest = "", p.prompt
    for old, new in zip(found, value, strict=True):
        before, _, rest = rest.partition(old)
        rebuilt += before + new
    p.prompt = rebuilt + rest


def _checkpoint(webui: WebUI, p: Processing, value: Any, _values: list[Any]) -> None:
    found = webui.checkpoints.closest(str(value))
    if found is not None:
        p.override_settings["sd_model_checkpoint"] = found.name


def _vae(webui: WebUI, p: Processing, value: Any, _values: list[Any]) -> None:
    name = str(value).strip().lower()
    known = {"auto": "Automatic", "automatic": "Automatic", "none": "None"}
    known |= {file.lower(): file for file in webui.vaes.files}
    p.override_settings["sd_vae"] = known.get(name, "Automatic")


def _styles(_webui: WebUI, p: Processing, value: Any, _values: list[Any]) -> None:
    p.styles = [*p.styles, *str(value).split(",")]


def _faces(_webui: WebUI, p: Processing, value: Any, _values: list[Any]) -> None:
    p.set("restore_faces", str(value).lower() in ("codeformer", "gfpgan", "true", "yes", "y", "1"))


def _size(_webui: WebUI, p: Processing, value: Any, _values: list[Any]) -> None:
    width, _, height = str(value).partition("x")
    if width.strip().isdigit() and height.strip().isdigit():
        p.width, p.height = int(width), int(height)


_SPECIAL: dict[str, Callable[[WebUI, Processing, Any, list[Any]], None]] = {
    "Prompt S/R": _replace,
    "Prompt order": _reorder,
    "Checkpoint name": _checkpoint,
    "VAE": _vae,
    "Styles": _styles,
    "Face restore": _faces,
    "Size": _size,
}
