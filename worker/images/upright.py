"""Pixels as every reader of a plain PNG sees them: turned as EXIF says, 8 bits, grey, RGB or RGBA."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image

from worker.images.convert import encode
from worker.images.exif import orientation
from worker.images.pixels import opened

if TYPE_CHECKING:
    from worker.images.formats.found import Found
    from worker.images.picture import Picture

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLAIN = ("1", "L", "P", "RGB", "RGBA")


def upright(picture: Picture, found: Found, *, flatten: bool = False) -> Picture:
    """Return `picture` itself where it is plain already, else its pixels as a plain PNG without notes.

    Every pixel is decoded either way, so a picture that comes back can be read.

    Args:
        picture: Of any format.
        found: Its headers.
        flatten: Lay transparency on white.

    Raises:
        BrokenPicture: it can't be decoded.
    """
    turn = _TURNS.get(orientation(found.exif)) if found.exif else None
    with opened(picture) as image:
        clear = image.has_transparency_data
        if turn is None and picture.format != "avif" and image.mode in _PLAIN and not (clear and flatten):
            return picture
        plain = _eight_bits(image)
        if clear:
            plain = plain.convert("RGBA")
            plain = _on_white(plain) if flatten else plain
        elif plain.mode not in _PLAIN:
            plain = plain.convert("RGB")
        if image.mode == "CMYK":
            plain.info.pop("icc_profile", None)  # it speaks of inks
        return encode(plain.transpose(turn) if turn is not None else plain, "png", fast=True)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return deeper grey scaled to 8 bits; a plain conversion would cut it off at white."""
    if not image.mode.startswith("I"):
        return image
    return image.convert("F").point(lambda value: value * (1 / 257) + 0.5).convert("L")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")
