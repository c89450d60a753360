"""Axes of the WebUI's x/y/z plot as those of a plot of ours. Pure."""

from __future__ import annotations

import csv
import re
from io import StringIO
from typing import TYPE_CHECKING, Any

from worker.common.suggestions import nearest
from worker.contract.base.json_guard import shown, word
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.parse.normalise import Normal

_SEARCH = "prompt s/r"
_AXIS_FIELDS: Mapping[str, str] = {
    "seed": "seed",
    "var. seed": "subseed",
    "var. strength": "subseed_strength",
    "steps": "steps",
    "hires steps": "hr_second_pass_steps",
    "cfg scale": "cfg_scale",
    "image cfg scale": "image_cfg_scale",
    "sampler": "sampler_name",
    "hires sampler": "hr_sampler_name",
    "checkpoint name": "checkpoint",
    "negative guidance minimum sigma": "s_min_uncond",
    "sigma churn": "s_churn",
    "sigma min": "s_tmin",
    "sigma max": "s_tmax",
    "sigma noise": "s_noise",
    "schedule type": "scheduler",
    "schedule min sigma": "override_settings.sigma_min",
    "schedule max sigma": "override_settings.sigma_max",
    "schedule rho": "override_settings.rho",
    "eta": "eta",
    "clip skip": "clip_skip",
    "denoising": "denoising_strength",
    "initial noise multiplier": "initial_noise_multiplier",
    "hires upscaler": "hr_upscaler",
    "vae": "vae",
    "token merging ratio": "override_settings.token_merging_ratio",
    "token merging ratio high-res": "override_settings.token_merging_ratio_hr",
    "always discard next-to-last sigma": "override_settings.always_discard_next_to_last_sigma",
    "sgm noise multiplier": "override_settings.sgm_noise_multiplier",
    "refiner checkpoint": "refiner_checkpoint",
    "refiner switch at": "refiner_switch_at",
    "rng source": "override_settings.randn_source",
    "unipc order": "override_settings.uni_pc_order",
}
"""Axis of the x/y/z plot → the job's field."""
AXES: tuple[tuple[str, str | None], ...] = (
    ("Nothing", None),
    ("Seed", None),
    ("Var. seed", None),
    ("Var. strength", None),
    ("Steps", None),
    ("Hires steps", "txt2img"),
    ("CFG Scale", None),
    ("Image CFG Scale", "img2img"),
    ("Prompt S/R", None),
    ("Prompt order", None),
    ("Sampler", None),
    ("Hires sampler", "txt2img"),
    ("Checkpoint name", None),
    ("Negative Guidance minimum sigma", None),
    ("Sigma Churn", None),
    ("Sigma min", None),
    ("Sigma max", None),
    ("Sigma noise", None),
    ("Schedule type", None),
    ("Schedule min sigma", None),
    ("Schedule max sigma", None),
    ("Schedule rho", None),
    ("Beta schedule alpha", None),
    ("Beta schedule beta", None),
    ("Eta", None),
    ("Clip skip", None),
    ("Denoising", None),
    ("Initial noise multiplier", None),
    ("Extra noise", None),
    ("Hires upscaler", "txt2img"),
    ("Cond. Image Mask Weight", "img2img"),
    ("VAE", None),
    ("Styles", None),
    ("UniPC Order", None),
    ("Face restore", None),
    ("Token merging ratio", None),
    ("Token merging ratio high-res", None),
    ("Always discard next-to-last sigma", None),
    ("SGM noise multiplier", None),
    ("Refiner checkpoint", None),
    ("Refiner switch at", None),
    ("RNG source", None),
    ("FP8 mode", None),
    ("Size", None),
)
"""Axes of A1111 v1.10.1 in its order, and the kind of job that has them alone: its API names them by number."""
_OTHER_AXES = {
    "prompt order": 'plot: {"x": {"field": "prompt", "values": [...]}}',
    "size": 'plot: {"x": {"field": "width", ...}, "y": {"field": "height", ...}}',
    "styles": 'plot: {"x": {"field": "styles", "values": [["one"], ["two"]]}}',
    "face restore": 'plot: {"x": {"field": "restore_faces", "values": [true, false]}}',
}
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_RANGE = re.compile(
    rf"\s*({_NUMBER})\s*-\s*({_NUMBER})\s*(?:\(\s*([+-]?{_NUMBER}|{_NUMBER})\s*\)|\[\s*(\d+)\s*\])?\s*", re.ASCII
)
_MOST_VALUES = 1000
_TEXT_FIELDS = frozenset(
    {
        _SEARCH,
        "checkpoint",
        "hr_sampler_name",
        "hr_upscaler",
        "override_settings.randn_source",
        "refiner_checkpoint",
        "sampler_name",
        "scheduler",
        "vae",
    }
)
"""Fields whose values are names, which look like numbers and ranges by chance alone."""


def read_xyz_plot(normal: Normal, args: dict[str, Any], path: str) -> None:
    """Turn the arguments of an x/y/z plot, by label, into `plot`.

    Args:
        normal: The job in one spelling.
        args: The arguments that the client gave.
        path: Where.
    """
    plot: dict[str, Any] = {}
    for axis in ("X", "Y", "Z"):
        place = f"{path}.{axis} type"
        kind = _kind(normal, args.get(f"{axis} type", 0), place)
        if kind is None:
            continue
        numeric = _AXIS_FIELDS.get(word(kind), _SEARCH) not in _TEXT_FIELDS
        values = args.get(f"{axis} values list") or _values(args.get(f"{axis} values"), numeric=numeric)
        found = _axis(normal, kind, values, place)
        if found is not None:
            plot[axis.lower()] = found
            normal.written |= {f"plot.{axis.lower()}.{key}": f"{path}.{axis} values" for key in ("values", "search")}
            normal.written[f"plot.{axis.lower()}.field"] = place
    for name in ("Vary seeds for X", "Vary seeds for Y", "Vary seeds for Z", "Keep -1 for seeds"):
        if args.get(name):
            normal.problems.append(Problem(f"{path}.{name}", "is not offered; make seed an axis of plot"))
    if not plot and not normal.problems:
        normal.problems.append(Problem(path, "has no axis; send plot: {x, y, z}"))
    if args.get("Draw legend") is False:
        plot["legend"] = False
    if not normal.problems:
        normal.put("plot", plot, path)


def _kind(normal: Normal, given: object, place: str) -> str | None:
    """Return the name of an axis, None for one that is not there or not known."""
    if given == 0 or word(given) == "nothing" or given == "":
        return None
    if isinstance(given, str):
        return given
    name = _axis_name(given, is_img2img="init_images" in normal.fields)
    if name is None:
        message = f"must be the name of an axis, or its number in A1111 v1.10.1, not {shown(given)}"
        normal.problems.append(Problem(place, message))
    else:
        normal.warnings.append(f"{place}: {shown(given)} is the axis {name!r} of A1111 v1.10.1")
    return name


def _axis_name(number: object, *, is_img2img: bool) -> str | None:
    """Return the axis of this number on the WebUI's screen; extensions put theirs behind its own."""
    names = [name for name, only in AXES if only in {None, "img2img" if is_img2img else "txt2img"}]
    is_whole = type(number) is int or (isinstance(number, float) and number.is_integer())
    return names[int(number)] if is_whole and 0 <= number < len(names) else None  # type: ignore[operator,call-overload]  # a number


def _axis(normal: Normal, kind: str, values: Sequence[Any] | None, path: str) -> dict[str, Any] | None:
    name = word(kind)
    if not values:
        normal.problems.append(Problem(path.replace(" type", " values"), "is missing, or a range that can't be read"))
        return None
    if name == _SEARCH:
        return {"search": str(values[0]), "values": [str(value) for value in values]}
    field = _AXIS_FIELDS.get(name)
    if field is None:
        near = nearest(name, [*_AXIS_FIELDS, _SEARCH])
        instead = _OTHER_AXES.get(name, "plot by a field of the job")
        normal.problems.append(Problem(path, f"{kind!r} is not translated; send {instead}", near))
        return None
    return {"field": field, "values": list(values)}


def _values(text: object, *, numeric: bool) -> list[Any] | None:
    """Return what the text of an axis means, None where it means too much.

    Args:
        text: Values with commas between; on an axis of numbers also ``5-9``, ``1-10(+3)`` and ``1-10[4]``.
        numeric: The axis goes through numbers.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return [text]
    if not isinstance(text, str):
        return None
    rows = csv.reader(StringIO(text), skipinitialspace=True)
    found: list[Any] = []
    for part in (value.strip() for row in rows for value in row):
        if part:
            found += _range(part) if numeric else [part]
        if len(found) > _MOST_VALUES:
            return None
    return found


def _range(text: str) -> list[Any]:
    match = _RANGE.fullmatch(text)
    if match is None:
        return [_number(float(text)) if re.fullmatch(_NUMBER, text, re.ASCII) else text]
    first, last = float(match[1]), float(match[2])
    if match[4]:
        count = int(match[4])
        if not 0 < count <= _MOST_VALUES:
            return []
        step = (last - first) / (count - 1) if count > 1 else 0.0
    else:
        step = float(match[3]) if match[3] else (1.0 if last >= first else -1.0)
        if step == 0 or (last - first) / step < 0 or (last - first) / step > _MOST_VALUES:
            return []
        count = int((last - first) / step + 1e-9) + 1
    return [_number(round(first + index * step, 6)) for index in range(count)]


def _number(value: float) -> float:
    return int(value) if value.is_integer() else value
