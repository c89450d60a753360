"""Notes on a LoRA that people leave beside its file: trigger words as text, and the WebUI's own JSON. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import orjson

from worker.models.format.detect import split_words

_BASES = {"SD1": "SD 1.5", "SD2": "SD 2", "SDXL": "SDXL"}
"""The WebUI's words for base models → ours."""
_LARGEST_SCALE = 10


@dataclass(frozen=True, slots=True)
class SideNotes:
    """The facts in the files beside a model: None where they do not tell.

    Attributes:
        scale: The preferred weight.
        trigger_words: The activation text, else the words of a ``.txt``.
        base_model: As `worker.models.format.detect` names them.
    """

    scale: float | None = None
    trigger_words: tuple[str, ...] = ()
    base_model: str | None = None


def read_side_notes(text: bytes | None, webui_json: bytes | None) -> SideNotes:
    """Return the notes in the ``.txt`` and the ``.json`` beside a model; what can't be read is left out."""
    told = _object(webui_json) if webui_json is not None else {}
    activation = told.get("activation text")
    words = split_words(activation) if isinstance(activation, str) else ()
    if not words and text is not None:
        words = split_words(text.decode("utf-8", "replace"))
    version = told.get("sd version")
    return SideNotes(
        scale=_scale(told.get("preferred weight")),
        trigger_words=words,
        base_model=_BASES.get(version) if isinstance(version, str) else None,
    )


def _object(data: bytes) -> dict[str, Any]:
    try:
        told = orjson.loads(data)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _scale(value: Any) -> float | None:
    """Return a weight; 0 is how the WebUI writes that none is preferred."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value) if value and abs(value) <= _LARGEST_SCALE else None
