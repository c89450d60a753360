"""What an axis of the script x/y/z plot goes through, checked before it is sent. Pure.

The script ends in a 500 for a sampler or checkpoint that it does not know, and takes Automatic in silence for an
unknown VAE or schedule, the first checkpoint whose title contains the text, false for what is not ``true``, and
nothing at all for a size that it can't read or a LoRA that it does not know (v1.10.1, scripts/xyz_grid.py). Axes that
extensions add are theirs.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from io import StringIO
from typing import TYPE_CHECKING

from worker.contract.types.job import LARGEST_SEED
from worker.errors import Problem
from worker.suggestions import nearest
from worker.webui.names import lora_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.webui.names.catalog import Catalog

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_NUMBERS = re.compile(rf"{_NUMBER}(?:\s*-\s*{_NUMBER}\s*(?:\([+-]?{_NUMBER}\s*\)|\[\s*\d+\s*\])?)?", re.ASCII)
_WHOLES = re.compile(r"[+-]?\d+(?:\s*-\s*[+-]?\d+\s*(?:\([+-]?\d+\s*\)|\[\s*\d+\s*\])?)?", re.ASCII)
_SIZE = re.compile(r"\d{1,5}\s*x\s*\d{1,5}", re.ASCII)
SIZE = "Size"
_SEEDS = (-1, LARGEST_SEED)
_WHOLE_AXES: dict[str, tuple[float, float]] = {
    "Seed": _SEEDS, "Var. seed": _SEEDS, "Steps": (1, 150), "Hires steps": (0, 150), "Clip skip": (1, 12),
    "UniPC Order": (1, 50),
}  # fmt: skip
_NUMBER_AXES: dict[str, tuple[float, float]] = {
    "Var. strength": (0, 1), "CFG Scale": (0, 30), "Image CFG Scale": (0, 30), "Eta": (0, 1), "Denoising": (0, 1),
    "Negative Guidance minimum sigma": (0, 15), "Sigma Churn": (0, 100), "Sigma min": (0, 10), "Sigma max": (0, 999),
    "Sigma noise": (0, 1.1), "Initial noise multiplier": (0, 1.5), "Extra noise": (0, 1),
    "Schedule min sigma": (0, 2), "Schedule max sigma": (0, 60), "Schedule rho": (0, 100),
    "Beta schedule alpha": (0.01, 1), "Beta schedule beta": (0.01, 1), "Cond. Image Mask Weight": (0, 1),
    "Token merging ratio": (0, 0.9), "Token merging ratio high-res": (0, 0.9), "Refiner switch at": (0, 1),
}  # fmt: skip
"""Axis → what the job's own field of that meaning takes: nothing gets past its limits by being plotted."""
_LIMITS = {**_WHOLE_AXES, **_NUMBER_AXES, SIZE: (64, 2048)}
_ENDS = re.compile(rf"({_NUMBER})(?:\s*[-x]\s*({_NUMBER}))?", re.ASCII)
_EIGHT = 8
_SEARCH = "Prompt S/R"
_FORMS: dict[str, tuple[re.Pattern[str], str]] = {
    **dict.fromkeys(_WHOLE_AXES, (_WHOLES, "must be whole numbers, or ranges such as 1-10, 1-10(+3) and 1-10[4]")),
    **dict.fromkeys(_NUMBER_AXES, (_NUMBERS, "must be numbers, or ranges such as 0-1(+0.25) and 0-1[5]")),
    SIZE: (_SIZE, "must be sizes such as 512x768"),
}
_TRUTHS = ("true", "false")
_NAME_AXES = (
    *("Sampler", "Hires sampler", "Schedule type", "Checkpoint name", "Refiner checkpoint", "VAE", "Hires upscaler"),
    *("Styles", "RNG source", "Always discard next-to-last sigma", "SGM noise multiplier"),
)
_FP8 = "FP8 mode"
_FACES = "Face restore"
_YES, _NO = ("true", "yes", "y", "1"), ("false", "no", "n", "0")
CHECKED = (*_FORMS, *_NAME_AXES, _SEARCH, _FACES, _FP8)
"""Labels of the axes whose values are checked."""


def names(catalog: Catalog) -> Mapping[str, tuple[str, ...]]:
    """Return the names that each axis of names can go through, by the axis's label."""
    samplers = tuple(sampler.name for sampler in catalog.names.samplers)
    stems = Counter(one.stem for one in catalog.checkpoints)  # of two files of one name the script takes either
    checkpoints = tuple(
        name
        for one in catalog.checkpoints
        for name in (one.name, one.title)
        if stems[name] < 2  # noqa: PLR2004 - one alone
    )
    return {
        "Sampler": samplers,
        "Hires sampler": samplers,
        "Schedule type": tuple(scheduler.label for scheduler in catalog.names.schedulers),
        "Checkpoint name": checkpoints,
        "Refiner checkpoint": ("None", *checkpoints),
        "VAE": ("Automatic", "None", *(vae.name for vae in catalog.vaes)),
        "Hires upscaler": (*catalog.latent_upscalers, *(upscaler.name for upscaler in catalog.upscalers)),
        "Styles": catalog.styles,
        "RNG source": ("GPU", "CPU", "NV"),
        "Always discard next-to-last sigma": _TRUTHS,
        "SGM noise multiplier": _TRUTHS,
        _SEARCH: tuple(lora.name for lora in catalog.loras),
    }


def faces(restorer: str, *, ready: bool) -> Mapping[str, tuple[str, ...]]:
    """Return what the axis of face restoration can go through: the script never changes which model restores.

    Args:
        restorer: What restores faces in this job.
        ready: It has its weights.
    """
    return {_FACES: (*_YES, *_NO, restorer) if ready else _NO}


def settled(label: str, text: str, known: Mapping[str, Sequence[str]], path: str) -> tuple[str, list[Problem]]:
    """Return what an axis goes through with its names as the WebUI spells them, and a problem per value it lacks.

    Args:
        label: Of the axis.
        text: Its values, separated by commas; one with a comma inside stands in quotation marks.
        known: From `names`.
        path: Of the values in the job.
    """
    values = values_of(text)
    form = _FORMS.get(label)
    if form is not None:
        bad = next((value for value in values if not form[0].fullmatch(value)), None)
        problem = _beyond(label, values, path) if bad is None else Problem(path, f"{form[1]}, not {bad!r}")
        return text, [] if problem is None else [problem]
    if label == _FP8:  # measured: after it plain jobs make other pictures until another checkpoint was loaded
        return text, [Problem(path, f"the axis {_FP8} is not offered: it changes the model for later jobs too")]
    if label == _SEARCH:
        return text, unknown_tags(values, known.get(label, ()), path)
    if label not in known:
        return text, []
    found, problems = [], []
    for value in values:
        match = _match(value, known[label])
        if match is None:
            near = nearest(value, known[label])
            listed = ", ".join(known[label][:40]) or "none is there"
            problems.append(Problem(path, f"{value!r} is unknown to the axis {label}; known: {listed}", near))
        else:
            found.append(match)
    return (text if problems else joined(found)), problems


def _beyond(label: str, values: Sequence[str], path: str) -> Problem | None:
    """Return the problem with the first value that leaves the axis's limits, None where all keep to them."""
    low, high = _LIMITS[label]
    for value in values:
        ends = _ENDS.match(value)
        numbers = [float(end) for end in ends.groups() if end is not None] if ends is not None else []
        if not all(low <= number <= high for number in numbers):
            return Problem(path, f"must stay within {low:g} and {high:g} on the axis {label}, not {value!r}")
        if label == SIZE and any(number % _EIGHT for number in numbers):
            return Problem(path, f"must be sizes that are multiples of {_EIGHT}, not {value!r}")
    return None


def unknown_tags(values: Sequence[str], loras: Sequence[str], path: str) -> list[Problem]:
    """Return a problem for each tag that a script puts into the prompt and that would do nothing there."""
    return [
        Problem(path, f"the tag {tag.text} names a LoRA that is not there, or a weight that is no number")
        for value in values
        for tag in lora_tags.parse(value)
        if tag.kind not in lora_tags.LORA_KINDS or tag.name not in loras or None in tag.weights.values()
    ]


def joined(values: Sequence[object]) -> str:
    """Return values as the text of an axis."""
    out = StringIO()
    csv.writer(out, lineterminator="").writerow([str(value) for value in values])
    return out.getvalue()


def values_of(text: str) -> list[str]:
    """Return the values in the text of an axis; ranges are one value each."""
    rows = csv.reader(StringIO(text), skipinitialspace=True)
    return [value.strip() for row in rows for value in row if value.strip()]


def _match(value: str, names_: Sequence[str]) -> str | None:
    if value in names_:
        return value
    folded = [name for name in names_ if name.casefold() == value.casefold()]
    return folded[0] if len(folded) == 1 else None
