"""Reading of picture files with Pillow: their notes, thumbnails of them, and a hash of what they look like."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageOps

from worker.images.formats.exif import user_comment

FORMATS = ("PNG", "JPEG", "WEBP", "AVIF")
THUMBNAIL_PX = 256
THUMBNAIL_QUALITY = 80
MOST_PIXELS = 120_000_000
"""Of a picture that a thumbnail is made from: its pixels are in memory for a moment, 4 bytes each."""

HASH_BITS = 64


class UnreadablePicture(Exception):
    """The bytes are no whole picture of a known format, or one that is too large."""


def read_notes(data: bytes) -> tuple[str | None, tuple[int, int]]:
    """Return the infotext and the size of a picture, (None, (0, 0)) where it can't be read.

    Of a PNG or JPEG the beginning of the file is enough.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            size = image.size
            text = image.info.get("parameters")
            if not isinstance(text, str):
                exif = image.info.get("exif")
                text = user_comment(exif) if isinstance(exif, bytes) else None
    except Exception:  # noqa: BLE001 - damaged files make Pillow raise nearly everything; they say nothing then
        return None, (0, 0)
    return text, size


def file_ending(data: bytes) -> str:
    """Return the usual ending of a picture's file name, with its dot.

    Raises:
        UnreadablePicture: it is no picture of a known format.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            return {"JPEG": ".jpg"}.get(str(image.format), f".{str(image.format).lower()}")
    except Exception as error:
        raise UnreadablePicture(f"not a picture: {error}") from error


def make_thumbnail(data: bytes) -> bytes:
    """Return a WebP that fits into `THUMBNAIL_PX` squared.

    Raises:
        UnreadablePicture: it can't be decoded.
    """
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as image:
            _check_size(image)
            image.draft("RGB", (2 * THUMBNAIL_PX, 2 * THUMBNAIL_PX))
            upright = ImageOps.exif_transpose(image)
            has_alpha = "A" in upright.getbands() or "transparency" in upright.info
            small = upright.convert("RGBA" if has_alpha else "RGB")
            small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR, reducing_gap=2.0)
            out = BytesIO()
            small.save(out, "WEBP", quality=THUMBNAIL_QUALITY, method=2)
    except UnreadablePicture:
        raise
    except Exception as error:
        raise UnreadablePicture(f"it can't be decoded: {error}") from error
    return out.getvalue()


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise UnreadablePicture(f"{image.width}x{image.height} is more than {MOST_PIXELS} pixels")


def look_hash(thumbnail: bytes) -> int:
    """Return a difference hash of `HASH_BITS` bits: pictures that look alike differ in few of them."""
    with Image.open(BytesIO(thumbnail), formats=FORMATS) as image:
        values = image.convert("L").resize((9, 8), Image.Resampling.BOX).tobytes()
    bits = 0
    for row in range(8):
        for column in range(8):
            at = 9 * row + column
            bits = bits << 1 | (values[at] > values[at + 1])
    return bits
