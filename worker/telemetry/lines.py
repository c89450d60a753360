"""Log lines that arrive whole: what is too long for the platform is shortened where it is longest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_LIMIT = 4000
"""Bytes of one line; the platform cuts at 4,096 characters."""

_NOTE = 24
"""Room for what is said of a value that was shortened."""


def json_line(event: Mapping[str, Any], limit: int = LINE_LIMIT) -> str:
    """Return `event` as one line of JSON of at most `limit` bytes.

    Where it is longer, every value gets the same room, and those that need less leave the rest to the others. Texts and
    objects lose their ends, lists their beginnings, since of a log's lines the last ones count.
    """
    line = _json(event)
    if len(line) <= limit:
        return line.decode()
    sizes = {name: len(_json(value)) for name, value in event.items()}
    room = _fair(list(sizes.values()), limit - (len(line) - sum(sizes.values())))
    if room <= 2 * _NOTE:
        return _json({"event": str(event.get("event"))[:100], "bytes": len(line), "fields": len(sizes)}).decode()
    fitted = {
        name: value if sizes[name] <= room else _shortened(value, room - _NOTE, sizes[name])
        for name, value in event.items()
    }
    return _json(fitted).decode()


def _fair(sizes: list[int], budget: int) -> int:
    """Return the largest room for each of `sizes` with which all together stay within `budget`."""
    left = budget
    for place, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - place)
        if size > share:
            return share
        left -= size
    return budget


def hide(value: Any, secrets: list[str]) -> Any:
    """Return `value` with every text in `secrets` replaced by ``***``, however deep."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, "***")
        return value
    if isinstance(value, dict):
        return {hide(name, secrets): hide(one, secrets) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [hide(one, secrets) for one in value]
    return value


def _shortened(value: Any, room: int, whole: int) -> str:
    """Return `value` as a text whose JSON has at most about `room` bytes."""
    tail = isinstance(value, list)
    text = "\n".join(map(str, value)) if tail else value if isinstance(value, str) else _json(value).decode()
    kept = room
    while kept > 0 and len(_json(text[-kept:] if tail else text[:kept])) > room:
        kept = kept * 9 // 10
    note = f"({whole} bytes)"
    if tail:
        return f"{note} …{text[-kept:] if kept else ''}"
    return f"{text[:kept]}… {note}"


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # integers of more than 64 bits, halves of characters
        text = json.dumps(value, default=str, skipkeys=True, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")
