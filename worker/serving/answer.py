"""The last look at an answer before it leaves: strict JSON, within the limit, quiet in logs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import orjson

from worker.errors import InternalError, OutputTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENVELOPE_BYTES = 64
"""What the platform's client wraps around an answer: ``{"output": …, "error": …}``."""

_LONG_TEXT = 65536


class Answer(dict[str, Any]):
    """An answer that does not print itself.

    RunPod's SDK formats the whole result three times for debug lines that are usually not shown: 20 ms each for 8 MB
    of base64, on the event loop, and in full view when they are shown.
    """

    def __repr__(self) -> str:
        return f"<answer with {', '.join(self) or 'nothing'}>"

    __str__ = __repr__


class Listed(list[Any]):
    """An answer that is a list (one of the WebUI's own listings, asked for raw); it does not print itself either."""

    def __repr__(self) -> str:
        return f"<answer with {len(self)} entries>"

    __str__ = __repr__


def seal(answer: object, *, limit_bytes: int) -> Answer | Listed:
    """Return `answer` if the platform will carry it as it is, else the error answer that says why not.

    Args:
        answer: What the service returned.
        limit_bytes: Most bytes of JSON that the platform takes.
    """
    if not isinstance(answer, (dict, list)):
        return Answer(InternalError(f"the answer is a {type(answer).__name__}, not an object").to_answer())
    flaw = find_flaw(answer)
    if flaw is not None:
        return Answer(InternalError(f"the answer is not strict JSON: {flaw}").to_answer())
    size = encoded_size(answer) + _ENVELOPE_BYTES
    if size > limit_bytes:
        return Answer(
            OutputTooLarge(
                f"the answer has {size} bytes of JSON, {limit_bytes} are allowed",
                hint="ask for fewer or smaller pictures, another format, or configure an S3 store",
                details={"bytes": size, "limit": limit_bytes},
            ).to_answer()
        )
    return Answer(answer) if isinstance(answer, dict) else Listed(answer)


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


def _first(flaws: Iterator[str | None]) -> str | None:
    return next((flaw for flaw in flaws if flaw), None)


def encoded_size(answer: dict[str, Any] | list[Any]) -> int:
    """Return the bytes of strict-JSON `answer` as the SDK encodes it (UTF-8, a space after commas and colons)."""
    lean, long = _without_long_texts(answer) if _has_long_text(answer) else (answer, 0)
    return len(json.dumps(lean, ensure_ascii=False).encode()) + long


def size_bound(answer: dict[str, Any]) -> int:
    """Return what `encoded_size` is at most, at a tenth of its cost: a space follows some of the characters."""
    try:
        return 2 * len(orjson.dumps(answer))
    except TypeError:  # integers of more than 64 bits
        return encoded_size(answer)


def encode(answer: object) -> bytes:
    """Return strict-JSON `answer` as it is posted: at once as bytes, where the SDK makes two more copies of it."""
    try:
        return orjson.dumps(answer)
    except TypeError:  # as above
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
