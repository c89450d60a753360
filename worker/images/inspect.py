"""What a picture's bytes say about it: format, size, wholeness, infotext. Reads headers, not pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pybase64

from worker.images.formats import avif, jpeg, png, webp
from worker.images.picture import BrokenPicture, Format, Picture

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.images.formats.found import Found

_BLACK_BYTES_PER_PIXEL = 0.05
_BLACK_OVERHEAD = 4096
_FTYP_END = 12


def sniff(data: bytes) -> Format | None:
    """Return the format that the first bytes announce, None when it is none of ours."""
    if data.startswith(png.SIGNATURE):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and data[8:_FTYP_END] in (b"avif", b"avis"):
        return "avif"
    return None


def inspect(data: bytes, *, base64: str | None = None, thorough: bool = False) -> Picture:
    """Return the picture in `data` after checking that it is whole.

    PNG: every chunk's CRC and the end, and the compressed stream's own end and checksum where the picture is small;
    JPEG: all segments up to the end marker; WebP and AVIF: all lengths. A file cut anywhere is noticed, and in a PNG
    a flipped bit too.

    Args:
        data: The file.
        base64: The text it was decoded from, kept with the picture.
        thorough: Inflate large PNGs as well (11 ms for 1024²), which finds a short stream in well-formed chunks.

    Raises:
        BrokenPicture: not a known format, cut, or damaged.
    """
    kind, found = examine(data, thorough=thorough)
    return Picture(data, kind, found.width, found.height, found.infotext, base64)


def examine(data: bytes, *, thorough: bool = False) -> tuple[Format, Found]:
    """Return format and headers; checks and raises as `inspect` does."""
    kind = sniff(data)
    if kind is None:
        raise BrokenPicture(_not_a_picture(data))
    found = png.read(data, thorough=thorough) if kind == "png" else _READERS[kind](data)
    if found.width < 1 or found.height < 1:
        raise BrokenPicture(f"a {kind.upper()} of {found.width}x{found.height} pixels")
    return kind, found


_READERS: dict[Format, Callable[[bytes], Found]] = {"jpeg": jpeg.read, "webp": webp.read, "avif": avif.read}


def decode_base64(text: str) -> bytes:
    """Return the bytes of `text`: base64 of the standard alphabet, whole and padded, after an optional data-URL prefix.

    Line breaks are passed over, as the usual tools wrap their lines; any other stray character is an error.

    Raises:
        BrokenPicture: not base64, or nothing at all.
    """
    start = 0
    if text[:5].lower() == "data:":
        comma = text.find(",", 0, 256)
        if comma < 0 or not text[:comma].lower().endswith(";base64"):
            raise BrokenPicture("a data URL without `;base64,`")
        start = comma + 1
    body = text[start:] if start else text
    data = _decoded(body)
    if data is None:
        unwrapped = "".join(body.split())
        data = _decoded(unwrapped) if len(unwrapped) != len(body) else None
    if data is None:
        raise BrokenPicture("not base64")
    if not data:
        raise BrokenPicture("empty")
    return data


def _decoded(text: str) -> bytes | None:
    """Decode strictly; 30 times faster than the standard library does (0.14 against 4.9 ms for 3 MB)."""
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return None


def is_black(picture: Picture) -> bool:
    """Return whether every pixel is black, which is what NaNs become.

    Decodes pixels only where the file is small enough for a single colour (a picture of anything is not).
    """
    text = 2 * len(picture.infotext or "")
    if len(picture.data) > picture.width * picture.height * _BLACK_BYTES_PER_PIXEL + _BLACK_OVERHEAD + text:
        return False
    if picture.format == "png" and png.surely_not_black(picture.data):
        return False
    from worker.images.pixels import extremes  # noqa: PLC0415 - Pillow is needed for suspects only

    return extremes(picture)[1] == 0


def _not_a_picture(data: bytes) -> str:
    head = data[:64].lstrip().lower()
    if not data:
        return "empty"
    if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "a web page or SVG, not a PNG, JPEG, WebP or AVIF"
    if head.startswith((b"gif87a", b"gif89a")):
        return "a GIF, not a PNG, JPEG, WebP or AVIF"
    return f"not a PNG, JPEG, WebP or AVIF (it starts with {data[:8].hex()})"
