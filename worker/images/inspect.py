"""Checked pictures: format, size, wholeness and infotext of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pybase64

from worker.images.formats.av1 import coded_pixels
from worker.images.formats.brands import brands_of, foreign_format
from worker.images.formats.containers import PNG_SIGNATURE, Chunk, check_png_pixels, chunks_of, png_raw_size
from worker.images.formats.exif import user_comment
from worker.images.formats.picture import BrokenPicture, Format, Picture
from worker.images.pixels import extremes, opened

if TYPE_CHECKING:
    from PIL import Image

KEYWORD = "parameters"
_BLACK_BYTES_PER_PIXEL = 0.05
_BLACK_OVERHEAD = 4096
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_SNIFFED = 64
_SMALL_PNG = 512 * 1024


def sniff(data: bytes) -> Format | None:
    """Return the format that the first bytes announce, None when it is none of ours."""
    if data.startswith(PNG_SIGNATURE):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:8] == b"ftyp" and brands_of(data) & _AVIF_BRANDS:
        return "avif"
    return None


def inspect(
    data: bytes,
    *,
    base64: str | None = None,
    thorough: bool = False,
    max_pixels: int | None = None,
    still: bool = False,
) -> Picture:
    """Return the picture in `data` after checking that it is whole.

    Every checksum and the end of a PNG are checked, and its compressed stream where the picture is small; pictures of
    other formats are decoded. A file cut anywhere is noticed, and in a PNG a flipped bit too. Bytes behind the end of a
    PNG, JPEG or WebP are passed over.

    Args:
        data: The file.
        base64: The text it was decoded from, kept with the picture.
        thorough: Inflate large PNGs as well (11 ms for 1024²), which finds a short stream in well-formed chunks.
        max_pixels: Width times height that is accepted; judged before a pixel is decoded.
        still: Refuse moving pictures.

    Raises:
        BrokenPicture: not a known format, cut, damaged, too large, or moving.
    """
    kind = sniff(data)
    if kind is None:
        raise BrokenPicture(_not_a_picture(data))
    chunks = chunks_of(data, kind)
    with opened(data, kind) as image:
        width, height = image.size
        if max_pixels is not None and width * height > max_pixels:
            raise BrokenPicture(f"{width}x{height} is more than {max_pixels} pixels")
        if max_pixels is not None and kind == "avif" and coded_pixels(data) > max_pixels:
            raise BrokenPicture(f"an AVIF that says {width}x{height} and decodes to more than {max_pixels} pixels")
        if still and kind != "jpeg" and getattr(image, "n_frames", 1) > 1:  # an MPO's second picture is an extra
            raise BrokenPicture(f"a moving {kind.upper()}; send one frame of it")
        if kind == "png":
            _check_png(data, chunks, thorough=thorough)
        else:
            image.load()
        infotext = _infotext(image, data)
    return Picture(data, kind, width, height, infotext, base64)


def _check_png(data: bytes, chunks: list[Chunk], *, thorough: bool) -> None:
    if not any(kind == b"IDAT" for kind, _, _ in chunks):
        raise BrokenPicture("a PNG without pixels")
    if thorough or png_raw_size(data)[0] <= _SMALL_PNG:
        check_png_pixels(data, chunks)


def _infotext(image: Image.Image, data: bytes) -> str | None:
    """Return the infotext of a picture: PNG's text `parameters`, else EXIF's UserComment, else JPEG's comment."""
    if KEYWORD not in image.info and image.format == "PNG" and f"{KEYWORD}\0".encode() in data:
        image.load()  # Pillow reads the chunks behind the pixels with them
    text = image.info.get(KEYWORD)
    if isinstance(text, str) and image.format == "PNG":
        return str(text)
    exif = image.info.get("exif")
    comment = image.info.get("comment")
    found = user_comment(exif) if exif else None
    return found or (comment.decode("utf-8", "replace") if isinstance(comment, bytes) else None)


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
    return extremes(picture)[1] == 0


def _not_a_picture(data: bytes) -> str:
    if not data:
        return "empty"
    name = foreign_format(data)
    if name is not None:
        return f"{name}, not a PNG, JPEG, WebP or AVIF"
    if sniff(_decoded(data[:_SNIFFED].decode("ascii", "replace")) or b"") is not None:
        return "base64 of base64: it is encoded twice"
    return f"not a PNG, JPEG, WebP or AVIF (it starts with {data[:8].hex()})"
