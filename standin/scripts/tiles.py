"""Pictures cut into overlapping tiles and put together again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import WebUIError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Tiling:
    """Where the tiles of a picture lie: their upper left corners, row by row."""

    size: tuple[int, int]
    tile: tuple[int, int]
    corners: tuple[tuple[int, int], ...]

    def cut(self, image: Image.Image) -> list[Image.Image]:
        """The tiles of a picture of this size."""
        return [image.crop((x, y, x + self.tile[0], y + self.tile[1])) for x, y in self.corners]

    def join(self, tiles: Sequence[Image.Image]) -> Image.Image:
        """The picture that the tiles make; missing ones are black."""
        joined = Image.new("RGB", self.size)
        for place, corner in enumerate(self.corners):
            joined.paste(tiles[place] if place < len(tiles) else Image.new("RGB", self.tile), corner)
        return joined


def tiling(size: tuple[int, int], tile: tuple[int, int], overlap: int) -> Tiling:
    """As few tiles as cover a picture of this size; raises WebUIError for an overlap as large as a tile."""
    counts = []
    for side, length in zip(size, tile, strict=True):
        if length == overlap:
            raise WebUIError("ZeroDivisionError", "division by zero")
        counts.append(max(1, math.ceil((side - overlap) / (length - overlap))))
    columns, rows = counts
    places = [(row, column) for row in range(rows) for column in range(columns)]
    corners = tuple(
        (_start(column, columns, size[0], tile[0]), _start(row, rows, size[1], tile[1])) for row, column in places
    )
    return Tiling(size, tile, corners)


def _start(index: int, count: int, side: int, length: int) -> int:
    start = int(index * (side - length) / (count - 1)) if count > 1 else 0
    return side - length if start + length >= side else start
