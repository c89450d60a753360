"""A job that arrives one layer off: as a text of JSON, or inside a second `input`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_TEXT = 1_000_000
_JOB_FIELDS = ("prompt", "prompts", "type", "init_images", "image", "api", "action")


def in_text(raw: object) -> dict[str, Any] | None:
    """Return the object that `raw` is the JSON of, None where it is no such text."""
    if not isinstance(raw, str) or len(raw) > _LONGEST_TEXT or not raw.lstrip().startswith("{"):
        return None
    try:
        inner = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict) else None


def in_second_input(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the object in the `input` of `raw`, None where `raw` is a job itself."""
    inner = raw.get("input")
    return inner if isinstance(inner, dict) and not any(name in raw for name in _JOB_FIELDS) else None
