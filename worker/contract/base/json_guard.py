"""Is this value plain JSON of a bearable size? Answered in a few milliseconds whatever is sent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from worker.errors import Problem

if TYPE_CHECKING:
    from worker.contract.base.limits import Limits

_KEY_LENGTH = 200
_SCANNED_TEXT = 1_000_000
"""Only base64 is longer than this, and base64 is ASCII."""
LONGEST_TEXT = 28_000_000
"""Characters of the longest text: base64 of 20 MB, the platform's own limit on a job."""
_LONGEST_WORD = 200
_INTEGER_BITS = 64
_SHOWN = 60


def problems_of(raw: object, limits: Limits) -> list[Problem]:
    """Return what keeps `raw` from being read further: size, depth, NaN, lone surrogates, values that are not JSON.

    The walk is iterative and never enters a list or object that is too long, so its cost is bounded by
    `limits.max_values`. It stops at the first `limits.max_problems` problems.
    """
    problems: list[Problem] = []
    seen = 0
    pending: list[tuple[str, object, int]] = [("", raw, 0)]
    while pending:
        path, value, depth = pending.pop()
        seen += 1
        if seen > limits.max_values:
            problems.append(Problem("", f"has too many values; at most {limits.max_values} are read"))
            break
        complaint = _complaint(value, depth, limits)
        if complaint is not None:
            problems.append(Problem(path, complaint))
            if len(problems) >= limits.max_problems:
                break
        elif isinstance(value, dict):
            pending += [(f"{path}.{key}" if path else key, value[key], depth + 1) for key in reversed(value)]
        elif isinstance(value, list):
            pending += [(f"{path}[{index}]", value[index], depth + 1) for index in range(len(value) - 1, -1, -1)]
    return problems


def _complaint(value: object, depth: int, limits: Limits) -> str | None:  # noqa: PLR0911 - one line per kind of value
    if value is None or value is True or value is False:
        return None
    if type(value) is str:
        return _text_complaint(value)
    if type(value) is int:
        return "is a number with too many digits" if value.bit_length() > _INTEGER_BITS else None
    if type(value) is float:
        return None if math.isfinite(value) else "must be a finite number, not NaN or Infinity"
    if type(value) is dict or type(value) is list:
        if depth >= limits.max_depth:
            return f"is nested too deeply; at most {limits.max_depth} levels are read"
        if len(value) > limits.max_items:
            return f"has {len(value)} entries; at most {limits.max_items} are read"
        if type(value) is dict:
            return _keys_complaint(value)
        return None
    return f"is not JSON ({type(value).__name__})"


def _text_complaint(text: str) -> str | None:
    if text.isascii():
        if len(text) > LONGEST_TEXT:
            return f"has {len(text)} characters; at most {LONGEST_TEXT} are read"
        return "must not contain the character NUL" if len(text) <= _SCANNED_TEXT and "\x00" in text else None
    if len(text) > _SCANNED_TEXT:
        return f"is a text of {len(text)} characters; at most {_SCANNED_TEXT} are read"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"has half a character (a lone surrogate) at position {error.start}"
    return "must not contain the character NUL" if "\x00" in text else None


def _keys_complaint(value: dict[object, object]) -> str | None:
    for key in value:
        if type(key) is not str:
            return f"has a name that is not text ({type(key).__name__})"
        if len(key) > _KEY_LENGTH:
            return f"has a name of {len(key)} characters; at most {_KEY_LENGTH} are read"
        if not is_name(key):
            return f"has a name with a character that is not text: {shown(key)}"
    return None


def is_name(key: str) -> bool:
    """Return whether a field may be called `key`: what else there is, no program reads."""
    return len(key) <= _KEY_LENGTH and _text_complaint(key) is None


def word(value: object) -> str:
    """Return `value` as names and words are compared, without case and spaces; empty where it can't be one.

    A text of megabytes is not even copied for that.
    """
    return value.strip().lower() if isinstance(value, str) and len(value) <= _LONGEST_WORD else ""


def shown(value: object) -> str:
    """Return `value` as an error message shows it: short, and never the inside of lists and objects."""
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, (int, float)):
        return repr(value)
    return type(value).__name__
