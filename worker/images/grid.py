"""All pictures of a job on one sheet, as the WebUI lays its grids out: as square as may be, row by row."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from PIL import Image

from worker.images.convert import encode, on_white
from worker.images.pixels import decoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.images.formats.picture import Format, Picture

LONGEST_SIDE = 4096
"""Pixels; more pictures are drawn smaller."""


def layout(count: int) -> tuple[int, int]:
    """Return columns and rows for `count` pictures, 1 or more."""
    rows = min(count, round(count**0.5))
    return ceil(count / rows), rows


def grid(
    pictures: Sequence[Picture],
    *,
    format: Format,  # noqa: A002 - the name that clients use
    quality: int | None = None,
    lossless: bool = False,
) -> Picture:
    """Return one picture with all of `pictures` on it, without notes; cells have the size of the largest.

    Args:
        pictures: One or more, in order.
        format: Of the sheet.
        quality: 1 to 100, where the format has it.
        lossless: As for `convert`.

    Raises:
        BrokenPicture: one can't be decoded.
    """
    across, down = layout(len(pictures))
    width, height = max(one.width for one in pictures), max(one.height for one in pictures)
    scale = min(1.0, LONGEST_SIDE / (width * across), LONGEST_SIDE / (height * down))
    cell = max(1, int(width * scale)), max(1, int(height * scale))
    sheet = Image.new("RGB", (cell[0] * across, cell[1] * down), "white")
    for index, picture in enumerate(pictures):
        plain = on_white(decoded(picture))
        if scale < 1:
            plain.thumbnail(cell, Image.Resampling.LANCZOS)
        sheet.paste(plain, (index % across * cell[0], index // across * cell[1]))
    return encode(sheet, format, quality=quality, lossless=lossless)
