"""Room and lines around a grid, where the WebUI writes what its rows and columns are."""

from __future__ import annotations

from PIL import Image

TITLE = 35
"""Pixels that the title of a grid of grids takes."""


def annotate(
    grid: Image.Image, *, rows: int, columns: int, left: bool = False, top: int = 0, margin: int = 0
) -> Image.Image:
    """The grid with white margins between its cells; `top` pixels above and, with `left`, three quarters of a cell."""
    width, height = grid.width // columns, grid.height // rows
    indent = width * 3 // 4 if left else 0
    size = (indent + grid.width + margin * (columns - 1), top + grid.height + margin * (rows - 1))
    sheet = Image.new("RGB", size, "white")
    for row in range(rows):
        for column in range(columns):
            cell = grid.crop((column * width, row * height, (column + 1) * width, (row + 1) * height))
            sheet.paste(cell, (indent + column * (width + margin), top + row * (height + margin)))
    return sheet
