"""Another format for a finished picture: its infotext travels along, unless it is to be stripped.

A1111's places for the infotext: PNG text chunk `parameters`; EXIF UserComment in JPEG, WebP and AVIF. Functions here
take a picture and return one; they keep no state and may run in any thread.
"""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

from PIL import Image, features
from PIL.PngImagePlugin import PngInfo

from worker.images.formats.containers import without_notes
from worker.images.formats.exif import with_comment
from worker.images.formats.picture import Format, Picture
from worker.images.pixels import decoded

DEFAULT_QUALITY: dict[Format, int] = {"png": 100, "jpeg": 95, "webp": 95, "avif": 85}
_EFFORT = 50
_JPEG_SEGMENT = 65533
_PLAIN_MODES: dict[Format, tuple[str, ...]] = {
    "png": ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"),
    "jpeg": ("L", "RGB"),
    "webp": ("RGB", "RGBA"),
    "avif": ("RGB", "RGBA"),
}


def available(format: Format) -> bool:  # noqa: A002 - the name that clients use
    """Return whether this worker's Pillow can write `format`."""
    return format in ("png", "jpeg") or bool(features.check(format))


def convert(
    picture: Picture,
    *,
    format: Format | None = None,  # noqa: A002 - the name that clients use
    quality: int | None = None,
    lossless: bool = False,
    strip: bool = False,
) -> Picture:
    """Return `picture` in `format`, re-encoding only where pixels or format have to change.

    Args:
        picture: What was made.
        format: Wanted; None: as it is.
        quality: 1 to 100 for JPEG, WebP and AVIF; None: kept as it is, or the default when the format changes.
        lossless: For WebP exact pixels, `quality` being the effort; for AVIF the nearest that Pillow offers.
        strip: Leave out infotext and other notes.

    Raises:
        ValueError: this worker can't write the format.
        BrokenPicture: the pixels can't be decoded.
    """
    wanted = format or picture.format
    if not available(wanted):
        raise ValueError(f"this worker can't write {wanted}")
    if wanted == picture.format and (wanted == "png" or (quality is None and not lossless)):
        return stripped(picture) if strip else picture
    infotext = None if strip else picture.infotext
    return encode(decoded(picture), wanted, infotext=infotext, quality=quality, lossless=lossless)


def encode(
    image: Image.Image,
    format: Format,  # noqa: A002 - the name that clients use
    *,
    infotext: str | None = None,
    quality: int | None = None,
    lossless: bool = False,
    fast: bool = False,
) -> Picture:
    """Return the pixels of `image` as a file of `format`.

    Transparency is kept where the format has it and lies on white where it has not. An infotext too long for JPEG's
    64 KB is left out, and the returned picture's `infotext` is then None. `fast`: a PNG that costs a third of the time
    and a few per cent more bytes.
    """
    plain = _plain(image, format)
    profile = image.info.get("icc_profile")
    options: dict[str, Any] = {"icc_profile": profile} if profile else {}
    if format == "png":
        options |= {"compress_level": 1 if fast else 6, "pnginfo": _text_chunks(infotext)}
    else:
        block = with_comment(infotext, limit=_JPEG_SEGMENT if format == "jpeg" else None) if infotext else None
        infotext = infotext if block else None
        options |= {"quality": quality or (_EFFORT if lossless else DEFAULT_QUALITY[format]), "exif": block or b""}
        options |= _extra(format, lossless=lossless)
    out = BytesIO()
    plain.save(out, format=format.upper(), **options)
    return Picture(out.getvalue(), format, plain.width, plain.height, infotext)


def stripped(picture: Picture) -> Picture:
    """Return the same pixels, bit for bit, without infotext and other notes."""
    return replace(picture, data=without_notes(picture.data, picture.format), infotext=None, encoded=None)


def _extra(format: Format, *, lossless: bool) -> dict[str, Any]:  # noqa: A002 - as above
    if format == "webp":
        return {"lossless": lossless, "exact": lossless, "method": 2 if lossless else 4}
    if format == "avif":
        return {"quality": 100, "subsampling": "4:4:4", "speed": 8} if lossless else {"speed": 8}
    return {"optimize": False}


def _plain(image: Image.Image, format: Format) -> Image.Image:  # noqa: A002 - as above
    """Return `image` in a mode that `format` can hold."""
    if image.mode in _PLAIN_MODES[format] and not (format != "png" and "transparency" in image.info):
        return image
    if not image.has_transparency_data:
        return image.convert("RGB")
    return on_white(image) if format == "jpeg" else image.convert("RGBA")


def on_white(image: Image.Image) -> Image.Image:
    """Return `image` as RGB, what is transparent lying on white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    whole = image.convert("RGBA")
    white = Image.new("RGBA", whole.size, "white")
    white.alpha_composite(whole)
    return white.convert("RGB")


def _text_chunks(infotext: str | None) -> PngInfo | None:
    if infotext is None:
        return None
    chunks = PngInfo()
    chunks.add_text("parameters", infotext)
    return chunks
