"""Strict JSON as the platform carries it: flaws that would be posted as garbage, the size, the bytes. Pure."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONG_TEXT = 65536


def find_flaw(value: object, path: str = "answer") -> str | None:
    """Return where and why `value` is not strict JSON, None when it is.

    NaN and infinities, bytes, sets, any other object, keys that are not strings and lone surrogates: each of them would
    be posted as something a client can't read, or not at all.
    """
    if isinstance(value, dict):
        bad = (f"{path} has the key {key!r}" for key in value if not isinstance(key, str) or not _is_unicode(key))
        return _first(bad) or _first(find_flaw(item, f"{path}.{key}") for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return _first(find_flaw(item, f"{path}[{index}]") for index, item in enumerate(value))
    if isinstance(value, str):
        return None if _is_unicode(value) else f"{path} has half a surrogate pair"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} is {value}"
    return None if value is None or isinstance(value, int) else f"{path} is a {type(value).__name__}"


class RepeatedKey(ValueError):
    """A name that is given twice in one object: of its values one would be dropped without a word."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key[:80]!r} is given twice in one object")


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of these members, for the `object_pairs_hook` of `json.loads`. Raises RepeatedKey."""
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        raise RepeatedKey(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]  # None
    return members


def _first(flaws: Iterator[str | None]) -> str | None:
    return next((flaw for flaw in flaws if flaw), None)


def encoded_size(answer: dict[str, Any] | list[Any]) -> int:
    """Return the bytes of strict-JSON `answer` as the SDK encodes it (UTF-8, a space after commas and colons)."""
    lean, long = _without_long_texts(answer) if _has_long_text(answer) else (answer, 0)
    return len(json.dumps(lean, ensure_ascii=False).encode()) + long


def encode(answer: object) -> bytes:
    """Return strict-JSON `answer` as it is posted: at once as bytes, where the SDK makes two more copies of it."""
    try:
        return orjson.dumps(answer)
    except TypeError:  # integers of more than 64 bits
        return json.dumps(answer, ensure_ascii=False).encode()


def _has_long_text(value: Any) -> bool:
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            if len(one) > _LONG_TEXT:
                return True
        elif isinstance(one, dict):
            pending.extend(one.values())
        elif isinstance(one, (list, tuple)):
            pending.extend(one)
    return False


def _without_long_texts(value: Any) -> tuple[Any, int]:
    """Return `value` with its long texts emptied, and their bytes in JSON: measured one by one, not all at once."""
    if isinstance(value, str):
        return ("", len(orjson.dumps(value)) - 2) if len(value) > _LONG_TEXT else (value, 0)
    if isinstance(value, dict):
        pairs = {key: _without_long_texts(item) for key, item in value.items()}
        return {key: lean for key, (lean, _) in pairs.items()}, sum(long for _, long in pairs.values())
    if isinstance(value, (list, tuple)):
        items = [_without_long_texts(item) for item in value]
        return [lean for lean, _ in items], sum(long for _, long in items)
    return value, 0


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
