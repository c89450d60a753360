"""Clients' files that Pillow reads, or our checks take, only after a small change to their container.

An AVIF may have a general brand in front, a PNG the marks of an animation of one frame, and a picture may be a BMP, a
TIFF or a GIF, which this worker makes none of, but reads.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from worker.images.formats.brands import brands_of
from worker.images.formats.containers import PNG_SIGNATURE, png_chunks
from worker.images.formats.pages import check_pages
from worker.images.formats.picture import BrokenPicture

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_CONVERTED: tuple[tuple[bytes, str], ...] = (
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
)
_TOO_DEEP = frozenset({"I", "F"})
"""Modes of 32 bits a pixel: nothing tells which of the values is white."""
_AVIF = b"avif"
_COUNTS = 8
"""Bytes of the chunk that says how many frames there are, and how often they are shown."""


def as_still(data: bytes) -> bytes:
    """Return the same picture in a container that says what it is; other files, and moving ones, as they are."""
    if data.startswith(PNG_SIGNATURE):
        return _without_animation(data)
    brands = brands_of(data)
    if brands & {_AVIF, b"avis"} and data[8:12] != _AVIF and b"moov" not in data[:4096]:
        return data[:8] + _AVIF + data[12:]
    return data


def as_known_format(data: bytes, *, max_pixels: int) -> bytes:
    """Return a BMP, TIFF or GIF as a PNG, other files as they are.

    Args:
        data: The file.
        max_pixels: Width times height that is accepted; judged before a pixel is decoded.

    Raises:
        BrokenPicture: it can't be read, moves or has several pages, or is too large.
    """
    kind = next((kind for start, kind in _CONVERTED if data.startswith(start)), None)
    if kind is None:
        return data
    check_pages(data, kind)
    Image.MAX_IMAGE_PIXELS = None  # the size is judged here
    try:
        with Image.open(BytesIO(data), formats=[kind]) as image:
            _judge(image, kind, max_pixels)
            image.load()
            return _png(image)
    except BrokenPicture:
        raise
    except Exception as error:  # noqa: BLE001 - damaged files make Pillow's decoders raise nearly everything
        raise BrokenPicture(f"a {kind} that can't be decoded ({type(error).__name__})") from None


def _judge(image: Image.Image, kind: str, max_pixels: int) -> None:
    """Raise BrokenPicture for a file that is too large or too deep."""
    width, height = image.size
    if width * height > max_pixels:
        raise BrokenPicture(f"{width}x{height} is more than {max_pixels} pixels")
    if image.mode in _TOO_DEEP:
        raise BrokenPicture(f"a {kind} of 32 bits a pixel; send 8 or 16")


def _png(image: Image.Image) -> bytes:
    """Return the pixels, with their transparency and orientation, as a PNG."""
    exif = image.getexif().tobytes() if image.format == "TIFF" else b""
    mode = "RGBA" if image.has_transparency_data else "L" if image.mode in {"1", "L"} else None
    deep = image.mode.startswith("I")
    plain = image if deep else image.convert(mode or "RGB")
    written = BytesIO()
    plain.save(written, "PNG", compress_level=1, **({"exif": exif} if exif else {}))
    return written.getvalue()


def _without_animation(data: bytes) -> bytes:
    """Return a PNG whose animation has one frame as a still picture."""
    try:
        chunks = list(png_chunks(data))
    except BrokenPicture:
        return data  # told by the checks of its format
    counts = [data[start:end] for kind, start, end in chunks if kind == b"acTL"]
    if len(counts) != 1 or len(counts[0]) != _COUNTS or int.from_bytes(counts[0][:4], "big") > 1:
        return data
    return PNG_SIGNATURE + b"".join(_written(data, chunks))


def _written(data: bytes, chunks: list[tuple[bytes, int, int]]) -> Iterator[bytes]:
    for kind, start, end in chunks:
        if kind not in _ANIMATION:
            yield data[start - 8 : end + 4]
