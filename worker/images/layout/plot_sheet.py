"""Sheets of plots: pictures in rows and columns, with the values beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from worker.images.convert import encode, on_white
from worker.images.grid import LONGEST_SIDE
from worker.images.pixels import decoded

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.images.formats.picture import Format, Picture

_GAP = 8
"""Pixels between cells."""
_MISSING = "lightgrey"
_SMALLEST_FONT, _LARGEST_FONT = 10, 48
_MARGIN_SHARE = 0.4
"""Of a cell's width, at most, for the labels of rows."""

Place = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SheetLabels:
    """The values of a plot's axes as texts; an axis that is not used has one empty text."""

    x: Sequence[str] = ("",)
    y: Sequence[str] = ("",)
    z: Sequence[str] = ("",)


def plot_sheet(
    cells: Mapping[Place, Picture],
    labels: SheetLabels,
    *,
    legend: bool,
    format: Format,  # noqa: A002 - the name that clients use
    quality: int | None = None,
    lossless: bool = False,
) -> Picture:
    """Return one picture of all cells: x across, y down, a block for each z side by side.

    Args:
        cells: Index on the three axes → picture; what is missing stays grey.
        labels: How many cells there are on each axis, and what stands beside them.
        legend: Write the labels.
        format: Of the sheet.
        quality: 1 to 100, where the format has it.
        lossless: As for `convert`.

    Raises:
        BrokenPicture: one can't be decoded.
    """
    across, down, blocks = len(labels.x), len(labels.y), len(labels.z)
    width, height = max(one.width for one in cells.values()), max(one.height for one in cells.values())
    columns = (across + (_MARGIN_SHARE if legend else 0)) * blocks
    scale = min(1.0, (LONGEST_SIDE / columns - _GAP) / width, (LONGEST_SIDE / down - _GAP) / height)
    cell = max(1, int(width * scale)), max(1, int(height * scale))
    font = ImageFont.load_default(max(_SMALLEST_FONT, min(_LARGEST_FONT, cell[0] // 12)))
    left = _width_of(labels.y, font, int(cell[0] * _MARGIN_SHARE)) if legend else 0
    line = int(font.size * 1.6) if isinstance(font, ImageFont.FreeTypeFont) else 2 * _SMALLEST_FONT
    titled = line if legend and any(labels.z) else 0
    top = titled + (line if legend and any(labels.x) else 0)
    block = left + across * (cell[0] + _GAP), top + down * (cell[1] + _GAP)
    sheet = Image.new("RGB", (max(1, block[0] * blocks - _GAP), max(1, block[1] - _GAP)), "white")
    draw = ImageDraw.Draw(sheet)
    for z in range(blocks):
        origin = z * block[0]
        if legend:
            _write(draw, labels.z[z], (origin + left, 0, block[0] - left - _GAP, titled), font)
            for x, text in enumerate(labels.x):
                _write(draw, text, (origin + left + x * (cell[0] + _GAP), titled, cell[0], top - titled), font)
            for y, text in enumerate(labels.y):
                _write(draw, text, (origin, top + y * (cell[1] + _GAP), left, cell[1]), font)
        for y in range(down):
            for x in range(across):
                corner = origin + left + x * (cell[0] + _GAP), top + y * (cell[1] + _GAP)
                _put(sheet, draw, cells.get((x, y, z)), corner, cell)
    return encode(sheet, format, quality=quality, lossless=lossless)


def _put(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    picture: Picture | None,
    corner: tuple[int, int],
    cell: tuple[int, int],
) -> None:
    if picture is None:
        draw.rectangle((*corner, corner[0] + cell[0] - 1, corner[1] + cell[1] - 1), fill=_MISSING)
        return
    image = on_white(decoded(picture))
    if image.width > cell[0] or image.height > cell[1]:
        image.thumbnail(cell, Image.Resampling.LANCZOS)
    sheet.paste(image, corner)


def _write(
    draw: ImageDraw.ImageDraw,
    text: str,
    box: tuple[int, int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Write `text` into the middle of a box (left, top, width, height), shortened where it is too long."""
    left, top, width, height = box
    if not text or not width or not height:
        return
    shown = text
    while len(shown) > 1 and draw.textlength(shown, font) > width:
        shown = f"{shown.rstrip('…')[:-1]}…"
    draw.text((left + width / 2, top + height / 2), shown, fill="black", font=font, anchor="mm")


def _width_of(texts: Sequence[str], font: ImageFont.FreeTypeFont | ImageFont.ImageFont, most: int) -> int:
    return min(most, max(int(font.getlength(text)) + _GAP if text else 0 for text in texts))
