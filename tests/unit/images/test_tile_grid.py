"""Pictures cut into tiles and blended again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFilter, ImageStat

from tests.support import pictures
from worker.images.layout.tile_grid import Blend, TileCanvas, TileGrid, cut, tile_grid


def blended(tiles: list[Image.Image], grid: TileGrid, blend: Blend = "cosine") -> Image.Image:
    canvas = TileCanvas(grid, blend)
    for tile in tiles:
        canvas.add(tile)
    return canvas.picture()


@given(
    st.integers(1, 700), st.integers(1, 700), st.sampled_from([64, 128, 256]), st.sampled_from([8, 16, 31]),
    st.sampled_from(["cosine", "linear"]),
)  # fmt: skip
def test_a_picture_that_is_cut_and_blended_is_the_same(
    width: int, height: int, size: int, overlap: int, blend: Blend
) -> None:
    image = pictures.noise(width, height)
    grid = tile_grid(width, height, size=size, overlap=overlap)
    tiles = [cut(image, grid, corner) for corner in grid.corners()]
    difference = ImageChops.difference(blended(tiles, grid, blend), image)
    assert max(difference.tobytes()) == 0


@given(st.integers(1, 3000), st.sampled_from([64, 128, 512]), st.integers(8, 31))
def test_neighbours_overlap_by_what_was_asked_for_and_no_tile_is_needless(side: int, size: int, overlap: int) -> None:
    grid = tile_grid(side, 64, size=size, overlap=overlap)
    lefts = grid.lefts
    assert all(before + grid.tile_width - after >= overlap for before, after in pairwise(lefts))
    assert lefts[-1] + grid.tile_width >= side
    assert len(lefts) == 1 or (len(lefts) - 1) * (size - overlap) + overlap < side


def _step(image: Image.Image, columns: range) -> float:
    """The mean difference between the pixels of these columns and those to their right."""
    box = (columns.start, 0, columns.stop, image.height)
    right = (columns.start + 1, 0, columns.stop + 1, image.height)
    return ImageStat.Stat(ImageChops.difference(image.crop(box), image.crop(right))).mean[0]


@pytest.mark.parametrize("blend", ["cosine", "linear"])
def test_a_seam_is_no_steeper_than_the_picture_itself(blend: Blend) -> None:
    """Two tiles of one picture, the second one brighter by a step that is easily seen where they are only pasted."""
    picture = pictures.noise(448, 256).filter(ImageFilter.GaussianBlur(3))
    grid = tile_grid(448, 256, size=256, overlap=64)
    dark, bright = (cut(picture, grid, corner) for corner in grid.corners())
    bright = bright.point(lambda value: min(255, value + 12))
    within = _step(dark, range(192))
    assert _step(blended([dark, bright], grid, blend), range(192, 256)) <= 1.1 * within
    pasted = picture.copy()
    pasted.paste(bright, (224, 0))
    assert _step(pasted, range(223, 224)) > 1.1 * within


def test_the_transition_lies_in_the_middle_of_what_neighbours_share() -> None:
    grid = tile_grid(160, 64, size=128, overlap=16)  # they share 96 pixels
    white, black = Image.new("RGB", (128, 64), "white"), Image.new("RGB", (128, 64))
    row = blended([white, black], grid, "linear").crop((0, 0, 160, 1)).convert("L").tobytes()
    assert (row[71], row[88]) == (255, 0)
    assert 255 > row[72] > row[87] > 0


def test_a_tile_of_another_size_and_a_picture_with_missing_tiles_are_refused() -> None:
    grid = tile_grid(128, 64, size=64, overlap=8)
    canvas = TileCanvas(grid, "linear")
    with pytest.raises(ValueError, match="a tile is 64x64, not 63x64"):
        canvas.add(Image.new("RGB", (63, 64)))
    with pytest.raises(ValueError, match="0 of 3 tiles"):
        canvas.picture()
