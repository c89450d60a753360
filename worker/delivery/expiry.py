"""Until when the presigned links of an answer open, as the links themselves say. Pure."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 8192
"""Characters of a link: base64 and prompts that only begin like one are not taken apart."""


def links_end(answer: Any) -> float | None:
    """Return the first moment, in seconds since the epoch, at which a link of `answer` is dead; None: none ever is."""
    ends = [end for text in _texts(answer) if (end := _end(text)) is not None]
    return min(ends, default=None)


def _texts(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            pending.extend(one.values())
        elif isinstance(one, list):
            pending.extend(one)


def _end(text: str) -> float | None:
    if len(text) > LONGEST or not text.startswith(("http://", "https://")) or "X-Amz-Expires=" not in text:
        return None
    try:
        told = parse_qs(urlsplit(text).query)
        begins = datetime.strptime(told["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        return begins.timestamp() + int(told["X-Amz-Expires"][0])
    except (KeyError, ValueError):
        return None
