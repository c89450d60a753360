"""Base64 as clients write it: padded or not, of either alphabet, wrapped in lines, behind the prefix of a data URL."""

from __future__ import annotations

import pybase64

from worker.images.formats.picture import BrokenPicture

_URL_SAFE = str.maketrans("-_", "+/")
_PREFIX = 256


def decode_clients_base64(text: str) -> bytes:
    """Return the bytes of `text`.

    Line breaks are passed over, as the usual tools wrap their lines; so are missing padding, percent-encoding and a
    byte order mark. Any other stray character is an error.

    Raises:
        BrokenPicture: not base64, or nothing at all.
    """
    body = _without_prefix(text)
    data = _decoded(body)
    if data is None:
        data = _decoded(_plain(body))
    if data is None:
        raise BrokenPicture("not base64")
    if not data:
        raise BrokenPicture("empty")
    return data


def _without_prefix(text: str) -> str:
    """Return `text` without the prefix of a data URL. Raises BrokenPicture for one that holds no base64."""
    text = text.lstrip("\ufeff")
    if text[:5].lower() != "data:":
        return text
    comma = text.find(",", 0, _PREFIX)
    if comma < 0 or not text[:comma].lower().endswith(";base64"):
        raise BrokenPicture("a data URL without `;base64,`")
    return text[comma + 1 :]


def _decoded(text: str) -> bytes | None:
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return None


def _plain(text: str) -> str:
    """Return `text` in the standard alphabet, on one line, with its padding."""
    if "%" in text:
        for code, sign in (("%2B", "+"), ("%2F", "/"), ("%3D", "="), ("%2b", "+"), ("%2f", "/"), ("%3d", "=")):
            text = text.replace(code, sign)
    bare = "".join(text.split()).rstrip("=").translate(_URL_SAFE)
    return bare + "=" * (-len(bare) % 4)
