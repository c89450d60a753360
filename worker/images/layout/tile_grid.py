"""A picture cut into overlapping tiles of one size, and blended into one picture again, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, pi
from typing import TYPE_CHECKING, Literal, NamedTuple

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

Blend = Literal["cosine", "linear"]
LATENT = 8
"""Sides of tiles are multiples of this, pixels."""
SMALLEST = 64
"""The WebUI redraws nothing smaller, pixels a side."""

_CURVES: dict[Blend, Callable[[float], float]] = {
    "linear": lambda share: share,
    "cosine": lambda share: (1 - cos(pi * share)) / 2,
}


class Corner(NamedTuple):
    """Upper left corner of a tile, pixels."""

    x: int
    y: int


@dataclass(frozen=True, slots=True)
class TileGrid:
    """The tiles of one picture, in rows.

    Attributes:
        width, height: Of the picture, pixels.
        tile_width, tile_height: Of every tile, pixels; more than the picture has where that is no multiple of 8.
        overlap: Pixels over which neighbours are blended; they may share more.
        lefts, tops: Where the columns and rows begin.
    """

    width: int
    height: int
    tile_width: int
    tile_height: int
    overlap: int
    lefts: tuple[int, ...]
    tops: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.lefts) * len(self.tops)

    def corners(self) -> list[Corner]:
        """Return the corner of each tile, row by row."""
        return [Corner(x, y) for y in self.tops for x in self.lefts]


def tile_grid(width: int, height: int, *, size: int, overlap: int) -> TileGrid:
    """Return as few tiles of `size` as cover a picture with at least `overlap` between neighbours, evenly spread.

    A picture that is smaller than a tile gets one that is just as large, rounded up to what the WebUI can redraw.
    """
    tile_width, tile_height = (min(size, max(SMALLEST, ceil(side / LATENT) * LATENT)) for side in (width, height))
    return TileGrid(
        width,
        height,
        tile_width,
        tile_height,
        overlap,
        _starts(width, tile_width, overlap),
        _starts(height, tile_height, overlap),
    )


def _starts(side: int, tile: int, overlap: int) -> tuple[int, ...]:
    if side <= tile:
        return (0,)
    count = ceil((side - overlap) / (tile - overlap))
    return tuple(round(index * (side - tile) / (count - 1)) for index in range(count))


def cut(image: Image.Image, grid: TileGrid, corner: Corner) -> Image.Image:
    """Return one tile of an RGB picture; beyond the picture's edge its last row and column are repeated."""
    right, bottom = corner.x + grid.tile_width, corner.y + grid.tile_height
    tile = image.crop((corner.x, corner.y, right, bottom))
    if right > grid.width:
        edge = grid.width - corner.x
        column = tile.crop((edge - 1, 0, edge, grid.tile_height))
        tile.paste(column.resize((right - grid.width, grid.tile_height)), (edge, 0))
    if bottom > grid.height:
        edge = grid.height - corner.y
        row = tile.crop((0, edge - 1, grid.tile_width, edge))
        tile.paste(row.resize((grid.tile_width, bottom - grid.height)), (0, edge))
    return tile


class TileCanvas:
    """A picture put together from its tiles as they arrive, row by row.

    It holds the picture and one row of tiles: four bytes per pixel each, and one for the row's mask.

    Args:
        grid: Of the tiles.
        blend: Curve of the transition between neighbours.
    """

    def __init__(self, grid: TileGrid, blend: Blend) -> None:
        self._grid = grid
        self._blend = blend
        self._sheet = Image.new("RGB", (grid.width, grid.height))
        self._row = Image.new("RGB", (grid.width, grid.tile_height))
        self._added = 0

    def add(self, tile: Image.Image) -> None:
        """Put the next tile into its place.

        Raises:
            ValueError: it has not the size of a tile.
        """
        grid = self._grid
        if tile.size != (grid.tile_width, grid.tile_height):
            raise ValueError(f"a tile is {grid.tile_width}x{grid.tile_height}, not {tile.width}x{tile.height}")
        row, column = divmod(self._added, len(grid.lefts))
        left = grid.lefts[column]
        if column == 0:
            self._row.paste(tile.convert("RGB"), (left, 0))
        else:
            shared = grid.lefts[column - 1] + grid.tile_width - left
            mask = self._ramp(shared, grid.tile_width).resize(tile.size, Image.Resampling.NEAREST)
            self._row.paste(tile.convert("RGB"), (left, 0), mask)
        self._added += 1
        if column == len(grid.lefts) - 1:
            self._end_row(row)

    def picture(self) -> Image.Image:
        """Return the whole picture.

        Raises:
            ValueError: tiles are missing.
        """
        if self._added != self._grid.count:
            raise ValueError(f"{self._added} of {self._grid.count} tiles are there")
        return self._sheet

    def _end_row(self, row: int) -> None:
        grid = self._grid
        top = grid.tops[row]
        if row == 0:
            self._sheet.paste(self._row, (0, top))
            return
        shared = grid.tops[row - 1] + grid.tile_height - top
        ramp = self._ramp(shared, grid.tile_height).transpose(Image.Transpose.TRANSPOSE)
        self._sheet.paste(self._row, (0, top), ramp.resize(self._row.size, Image.Resampling.NEAREST))

    def _ramp(self, shared: int, length: int) -> Image.Image:
        """Return a mask of one row: 0, the transition in the middle of the pixels shared with the neighbour, 255."""
        curve, overlap = _CURVES[self._blend], self._grid.overlap
        before = (shared - overlap) // 2
        steps = [round(255 * curve((index + 0.5) / overlap)) for index in range(overlap)]
        values = bytes([*([0] * before), *steps, *([255] * (length - before - overlap))])
        return Image.frombytes("L", (length, 1), values)
