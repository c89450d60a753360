"""The WebUI's JSON, read without copying its pictures more often than needed."""

from __future__ import annotations

import re
from typing import Any

import orjson

_IMAGES = re.compile(rb'\s*\{\s*"images"\s*:\s*\[')
_BETWEEN = re.compile(rb"\s*([,\]])\s*")
_QUOTE, _BACKSLASH = b'"', b"\\"
LARGE = 256 * 1024


def loads(content: bytes | bytearray) -> Any:
    """Return what `content` says, as `orjson.loads` does.

    Where it is large and begins with a list of pictures, as A1111's answers do, these are cut out first: a parser
    would copy everything once for itself before it makes the texts. That these are base64 is checked where they are
    decoded; a line break in one, which JSON does not allow, is let through.

    Raises:
        orjson.JSONDecodeError: it is not JSON.
    """
    found = _pictures(content) if len(content) > LARGE else None
    if found is None:
        return orjson.loads(content)
    pictures, at = found
    rest = orjson.loads(b'{"images":[' + content[at:])
    if rest["images"]:  # said twice: the last one counts
        return rest
    rest["images"] = pictures
    return rest


def _pictures(content: bytes | bytearray) -> tuple[list[str], int] | None:
    """Return the texts of the leading list and where it ends (at the bracket); None where it is not that simple."""
    head = _IMAGES.match(content)
    if head is None:
        return None
    at, pictures = head.end(), []
    while True:
        end = content.find(_QUOTE, at + 1)
        if content[at : at + 1] != _QUOTE or end < 0 or content.find(_BACKSLASH, at, end) >= 0:
            return None
        text = str(memoryview(content)[at + 1 : end], "ascii", "replace")
        if not text.isascii():
            return None
        pictures.append(text)
        between = _BETWEEN.match(content, end + 1)
        if between is None:
            return None
        if between.group(1) == b"]":
            return pictures, between.start(1)
        at = between.end()
