"""Values of response headers, which a hostile server may write as it likes. Pure."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_MOST_DIGITS = 18
LONGEST_WAIT_S = 366 * 86400.0
"""A year: as good as for ever."""


def retry_after(value: str, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for (number or date), None when it is neither.

    Args:
        value: The header's.
        now: Seconds since the epoch.
    """
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST_WAIT_S)
    try:
        return min(max(0.0, parsedate_to_datetime(text).timestamp() - now), LONGEST_WAIT_S)
    except (ValueError, TypeError, OverflowError):
        return None


def content_length(value: str) -> int | None:
    """Return the bytes that a `Content-Length` header announces, None where it says nothing that can be meant."""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS else None


def content_range(value: str) -> tuple[int, int | None] | None:
    """Return the first byte and the whole size that a `Content-Range` header tells, None where it tells no range."""
    match = _CONTENT_RANGE.fullmatch(value.strip())
    return (int(match[1]), None if match[3] == "*" else int(match[3])) if match else None
