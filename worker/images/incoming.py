"""Pictures that a client sends, made harmless and fitted: upright, opaque, of sizes that the model can work on.

What goes on to the WebUI is always encoded anew, so nothing of the client's file but its pixels gets there.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image, ImageOps

from worker.images.client_base64 import decode_clients_base64
from worker.images.convert import encode
from worker.images.formats.readable import as_known_format, as_still
from worker.images.inspect import inspect
from worker.images.pixels import decoded

STEP = 8
"""Sizes are multiples of this many pixels."""
_HALF = 128
_OPAQUE = 255


@dataclass(frozen=True, slots=True)
class Sides:
    """Pixels by which a picture grows on each side."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0


def read_picture(data: bytes | str, *, max_pixels: int) -> Image.Image:
    """Return the pixels of a client's picture, upright by its EXIF orientation, as RGB or RGBA of 8 bits.

    The header's size is judged before a pixel is decoded, so a small file can't become gigabytes. A PNG is inflated for
    its own checksum first, because decoders take missing rows for black ones.

    Args:
        data: The file, or base64 or a data URL of it.
        max_pixels: Width times height that is accepted.

    Raises:
        BrokenPicture: not a picture, damaged, moving, or too large.
    """
    whole = decode_clients_base64(data) if isinstance(data, str) else data
    whole = as_still(as_known_format(whole, max_pixels=max_pixels))
    picture = inspect(whole, thorough=True, max_pixels=max_pixels, still=True)
    upright = ImageOps.exif_transpose(_eight_bits(decoded(picture)))
    return upright.convert("RGBA" if upright.has_transparency_data else "RGB")


def opaque(image: Image.Image, background: str = "white") -> Image.Image:
    """Return `image` without transparency; what was transparent has the colour of `background`, a name of Pillow's."""
    if image.mode != "RGBA":
        return image.convert("RGB")
    behind = Image.new("RGB", image.size, background).convert("RGBA")
    behind.alpha_composite(image)
    return behind.convert("RGB")


def is_transparent(image: Image.Image) -> bool:
    """Return whether nothing of `image` can be seen."""
    return image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)


def as_mask(image: Image.Image, *, rounded: bool = False) -> Image.Image:
    """Return `image` as a mask of grey values: its transparency where it has any, else its brightness.

    As A1111 does (`create_binary_mask` of v1.10.1), `rounded` makes transparency all or nothing, and only that.
    """
    if image.mode == "RGBA":
        alpha = image.getchannel("A")
        if alpha.getextrema() != (_OPAQUE, _OPAQUE):
            return alpha.point(lambda value: _OPAQUE if value > _HALF else 0) if rounded else alpha
    return image.convert("L")


def transparency_mask(image: Image.Image) -> Image.Image:
    """Return the mask of what is transparent in `image`: white there, black where it is opaque."""
    if image.mode != "RGBA":
        return Image.new("L", image.size, 0)
    return image.getchannel("A").point(lambda value: _OPAQUE - value)


def nearest_size(width: int, height: int, *, low: int, high: int) -> tuple[int, int]:
    """Return the nearest multiples of 8 within `low` and `high`."""

    def near(side: int) -> int:
        return min(max(round(side / STEP) * STEP, low), high)

    return near(width), near(height)


def fitted(mask: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return `mask` in the size of its picture."""
    return mask if mask.size == size else mask.resize(size, Image.Resampling.BILINEAR)


def grown(
    image: Image.Image, mask: Image.Image | None, sides: Sides, *, overlap: int
) -> tuple[Image.Image, Image.Image]:
    """Return `image` on a larger canvas and the mask of what is new.

    Args:
        image: RGB, its sides multiples of 8.
        mask: What is to be made anew inside the picture as well.
        sides: How far it grows, multiples of 8.
        overlap: Pixels of the old picture along the seam that are made anew too, so that it does not show.

    The canvas is filled with the picture's edge, which the model then works from.
    """
    width, height = image.size
    canvas = Image.new("RGB", (width + sides.left + sides.right, height + sides.top + sides.bottom))
    canvas.paste(image, (sides.left, sides.top))
    right, bottom = sides.left + width, sides.top + height
    for strip, box in (
        (image.crop((0, 0, 1, height)), (0, sides.top, sides.left, bottom)),
        (image.crop((width - 1, 0, width, height)), (right, sides.top, canvas.width, bottom)),
    ):
        _fill(canvas, strip, box)
    _fill(canvas, canvas.crop((0, sides.top, canvas.width, sides.top + 1)), (0, 0, canvas.width, sides.top))
    _fill(canvas, canvas.crop((0, bottom - 1, canvas.width, bottom)), (0, bottom, canvas.width, canvas.height))
    new = Image.new("L", canvas.size, 255)
    kept = (
        sides.left + (overlap if sides.left else 0),
        sides.top + (overlap if sides.top else 0),
        right - (overlap if sides.right else 0),
        bottom - (overlap if sides.bottom else 0),
    )
    if kept[0] < kept[2] and kept[1] < kept[3]:
        new.paste(0, kept)
        if mask is not None:
            inner = fitted(mask, (width, height)).crop(
                (kept[0] - sides.left, kept[1] - sides.top, kept[2] - sides.left, kept[3] - sides.top)
            )
            new.paste(inner, (kept[0], kept[1]))
    return canvas, new


def is_empty(mask: Image.Image, *, rounded: bool = True) -> bool:
    """Return whether no pixel of `mask` is white enough to count: half white where it is `rounded`, else any grey."""
    low_high = mask.getextrema()
    return isinstance(low_high[1], (int, float)) and low_high[1] < (_HALF if rounded else 1)


def to_base64(image: Image.Image) -> str:
    """Return `image` as base64 of a PNG of its pixels alone, written fast: it only travels over loopback."""
    image.info.pop("icc_profile", None)
    return encode(image, "png", fast=True).base64


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return deeper grey scaled to 8 bits; a plain conversion would cut it off at white."""
    if not image.mode.startswith("I"):
        return image
    return image.convert("F").point(lambda value: value * (1 / 257) + 0.5).convert("L")


def _fill(canvas: Image.Image, strip: Image.Image, box: tuple[int, int, int, int]) -> None:
    width, height = box[2] - box[0], box[3] - box[1]
    if width > 0 and height > 0:
        canvas.paste(strip.resize((width, height), Image.Resampling.NEAREST), box[:2])
