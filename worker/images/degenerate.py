"""Pictures that no diffusion makes: one colour from edge to edge, or noise without any structure.

A decoder that turns latents into pixels makes neighbouring pixels alike; independent ones come from a broken step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.images.formats.picture import Picture

_FLAT_BYTES_PER_PIXEL = 0.05
_FLAT_OVERHEAD = 4096
"""Bytes of headers and small chunks in a file of one colour."""
_NOISE_BYTES_PER_PIXEL = 2.9
"""Of a PNG with three bytes a pixel: less could be compressed, so there is some structure."""
_FEWEST_PIXELS = 4096
"""Fewer say too little about how alike neighbours are."""
_UNRELATED = 0.05
"""Correlation of neighbouring pixels up to which they have nothing to do with each other."""


def is_one_colour(picture: Picture) -> bool:
    """Return whether all pixels are the same; pixels are decoded only where the file is small enough for that.

    Raises:
        BrokenPicture: it can't be decoded.
    """
    notes = 2 * len(picture.infotext or "")
    if len(picture.data) > picture.width * picture.height * _FLAT_BYTES_PER_PIXEL + _FLAT_OVERHEAD + notes:
        return False
    from worker.images.pixels import is_flat  # noqa: PLC0415 - Pillow is needed for suspects only

    return is_flat(picture)


def is_noise(picture: Picture) -> bool:
    """Return whether neighbouring pixels of a PNG are unrelated; decoded only where nothing could be compressed.

    Raises:
        BrokenPicture: it can't be decoded.
    """
    pixels, notes = picture.width * picture.height, 2 * len(picture.infotext or "")
    if picture.format != "png" or pixels < _FEWEST_PIXELS:
        return False
    if len(picture.data) < pixels * _NOISE_BYTES_PER_PIXEL + notes:
        return False
    from worker.images.pixels import neighbours_alike  # noqa: PLC0415 - as above

    return all(abs(alike) < _UNRELATED for alike in neighbours_alike(picture))
