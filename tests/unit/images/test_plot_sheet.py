"""Sheets of plots."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from worker.images.convert import encode
from worker.images.grid import LONGEST_SIDE
from worker.images.layout.plot_sheet import SheetLabels, plot_sheet

if TYPE_CHECKING:
    from worker.images.formats.picture import Picture


def cell(colour: str, width: int = 64, height: int = 48) -> Picture:
    return encode(Image.new("RGB", (width, height), colour), "png")


def pixels(sheet: Picture) -> Image.Image:
    return Image.open(io.BytesIO(sheet.data)).convert("RGB")


def test_each_cell_lies_at_its_place_and_a_missing_one_is_grey() -> None:
    cells = {(0, 0, 0): cell("red"), (1, 0, 0): cell("green"), (0, 1, 0): cell("blue"), (0, 0, 1): cell("black")}
    sheet = pixels(plot_sheet(cells, SheetLabels(["a", "b"], ["c", "d"], ["e", "f"]), legend=False, format="png"))
    assert sheet.size == (4 * 72 - 8, 2 * 56 - 8)
    colours = [sheet.getpixel((x * 72 + 30, y * 56 + 20)) for y in range(2) for x in range(4)]
    grey = (211, 211, 211)
    assert colours == [(255, 0, 0), (0, 128, 0), (0, 0, 0), grey, (0, 0, 255), grey, grey, grey]


def test_the_legend_writes_each_value_and_takes_room_for_it_alone() -> None:
    cells = {(x, 0, 0): cell("red") for x in range(2)}
    plain = pixels(plot_sheet(cells, SheetLabels(["1", "2"]), legend=False, format="png"))
    told = pixels(plot_sheet(cells, SheetLabels(["1", "2"]), legend=True, format="png"))
    assert told.width == plain.width
    above = told.height - plain.height
    assert above > 0
    for x in range(2):
        label = told.crop((x * 72, 0, x * 72 + 64, above)).convert("L")
        assert min(label.tobytes()) < 100


def test_a_label_that_is_too_long_stays_within_its_cell() -> None:
    sheet = pixels(plot_sheet({(0, 0, 0): cell("red")}, SheetLabels(["word " * 50]), legend=True, format="png"))
    assert sheet.width == 64


def test_a_sheet_of_large_pictures_is_drawn_smaller() -> None:
    cells = {(x, 0, 0): cell("red", 1024, 512) for x in range(8)}
    sheet = plot_sheet(cells, SheetLabels([str(x) for x in range(8)]), legend=False, format="jpeg")
    assert sheet.width <= LONGEST_SIDE
    assert sheet.format == "jpeg"
