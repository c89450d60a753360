"""What an axis of the script x/y/z plot goes through, checked before it is sent. Pure.

The script ends in a 500 for a sampler or checkpoint that it does not know, and takes Automatic in silence for an
unknown VAE or schedule, the first checkpoint whose title contains the text, false for what is not ``true``, and
nothing at all for a size that it can't read (v1.10.1, scripts/xyz_grid.py). Axes that extensions add are theirs.
"""

from __future__ import annotations

import csv
import re
from io import StringIO
from typing import TYPE_CHECKING

from worker.contract.suggest import nearest
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.webui.catalog import Catalog

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_NUMBERS = re.compile(rf"{_NUMBER}(?:\s*-\s*{_NUMBER}\s*(?:\([+-]?{_NUMBER}\s*\)|\[\s*\d+\s*\])?)?", re.ASCII)
_WHOLES = re.compile(r"[+-]?\d+(?:\s*-\s*[+-]?\d+\s*(?:\([+-]?\d+\s*\)|\[\s*\d+\s*\])?)?", re.ASCII)
_SIZE = re.compile(r"\d{1,5}\s*x\s*\d{1,5}", re.ASCII)
_WHOLE_AXES = frozenset({"Seed", "Var. seed", "Steps", "Hires steps", "Clip skip", "UniPC Order"})
_NUMBER_AXES = frozenset(
    {
        *("Var. strength", "CFG Scale", "Image CFG Scale", "Negative Guidance minimum sigma", "Eta", "Denoising"),
        *("Sigma Churn", "Sigma min", "Sigma max", "Sigma noise", "Initial noise multiplier", "Extra noise"),
        *("Schedule min sigma", "Schedule max sigma", "Schedule rho", "Beta schedule alpha", "Beta schedule beta"),
        *("Cond. Image Mask Weight", "Token merging ratio", "Token merging ratio high-res", "Refiner switch at"),
    }
)
_FORMS: dict[str, tuple[re.Pattern[str], str]] = {
    **dict.fromkeys(_WHOLE_AXES, (_WHOLES, "must be whole numbers, or ranges such as 1-10, 1-10(+3) and 1-10[4]")),
    **dict.fromkeys(_NUMBER_AXES, (_NUMBERS, "must be numbers, or ranges such as 0-1(+0.25) and 0-1[5]")),
    "Size": (_SIZE, "must be sizes such as 512x768"),
}
_TRUTHS = ("true", "false")
_NAME_AXES = (
    *("Sampler", "Hires sampler", "Schedule type", "Checkpoint name", "Refiner checkpoint", "VAE", "Hires upscaler"),
    *("Styles", "RNG source", "FP8 mode", "Always discard next-to-last sigma", "SGM noise multiplier"),
)
CHECKED = (*_FORMS, *_NAME_AXES)
"""Labels of the axes whose values are checked."""


def names(catalog: Catalog) -> Mapping[str, tuple[str, ...]]:
    """Return the names that each axis of names can go through, by the axis's label."""
    samplers = tuple(sampler.name for sampler in catalog.names.samplers)
    checkpoints = tuple(name for one in catalog.checkpoints for name in (one.name, one.title))
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
        "FP8 mode": ("Disable", "Enable for SDXL", "Enable"),
        "Always discard next-to-last sigma": _TRUTHS,
        "SGM noise multiplier": _TRUTHS,
    }


def settled(label: str, text: str, known: Mapping[str, Sequence[str]], path: str) -> tuple[str, list[Problem]]:
    """Return what an axis goes through with its names as the WebUI spells them, and a problem per value it lacks.

    Args:
        label: Of the axis.
        text: Its values, separated by commas; one with a comma inside stands in quotation marks.
        known: From `names`.
        path: Of the values in the job.
    """
    values = _values(text)
    form = _FORMS.get(label)
    if form is not None:
        bad = next((value for value in values if not form[0].fullmatch(value)), None)
        return text, [] if bad is None else [Problem(path, f"{form[1]}, not {bad!r}")]
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


def joined(values: Sequence[object]) -> str:
    """Return values as the text of an axis."""
    out = StringIO()
    csv.writer(out, lineterminator="").writerow([str(value) for value in values])
    return out.getvalue()


def _values(text: str) -> list[str]:
    rows = csv.reader(StringIO(text), skipinitialspace=True)
    return [value.strip() for row in rows for value in row if value.strip()]


def _match(value: str, names_: Sequence[str]) -> str | None:
    if value in names_:
        return value
    folded = [name for name in names_ if name.casefold() == value.casefold()]
    return folded[0] if len(folded) == 1 else None
