from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.contract.rules.sizes import Size, hires_size, split

MEGAPIXEL = 1024 * 1024


def test_a_batch_that_fits_stays_as_it_is() -> None:
    assert split(1024, 1024, 4, 2, 4 * MEGAPIXEL) == (4, 2)


def test_a_batch_that_is_too_large_is_split_over_more_iterations() -> None:
    assert split(1024, 1024, 8, 1, 4 * MEGAPIXEL) == (4, 2)
    assert split(1024, 1024, 6, 1, 4 * MEGAPIXEL) == (3, 2)


def test_a_prime_number_of_pictures_goes_one_by_one() -> None:
    assert split(1024, 1024, 7, 1, 4 * MEGAPIXEL) == (1, 7)


@given(
    st.integers(8, 256), st.integers(8, 256), st.integers(1, 64), st.integers(1, 8), st.integers(4096, 4 * MEGAPIXEL)
)
def test_splitting_keeps_the_number_of_pictures_and_the_budget(
    width: int, height: int, batch: int, rounds: int, budget: int
) -> None:
    size, count = split(width * 8, height * 8, batch, rounds, budget)
    assert size * count == batch * rounds
    assert size <= batch
    assert size == 1 or width * height * 64 * size <= budget


def test_hires_doubles_by_default() -> None:
    assert hires_size(Size(512, 768), scale=None, resize_x=None, resize_y=None).final == Size(1024, 1536)


def test_hires_by_a_crooked_scale_rounds_down_to_whole_latents() -> None:
    assert hires_size(Size(512, 512), scale=1.3, resize_x=0, resize_y=0).final == Size(664, 664)


def test_hires_to_one_side_keeps_the_shape() -> None:
    assert hires_size(Size(512, 768), scale=None, resize_x=1024, resize_y=0).final == Size(1024, 1536)
    assert hires_size(Size(512, 768), scale=None, resize_x=0, resize_y=1536).final == Size(1024, 1536)


def test_hires_to_a_height_alone_is_no_hires_by_scale() -> None:
    assert hires_size(Size(512, 512), scale=None, resize_x=None, resize_y=768).final == Size(768, 768)
    assert hires_size(Size(512, 512), scale=None, resize_x=768, resize_y=None).final == Size(768, 768)


def test_hires_to_both_sides_covers_and_crops() -> None:
    wide = hires_size(Size(512, 512), scale=None, resize_x=1024, resize_y=768)
    assert (wide.work, wide.final) == (Size(1024, 1024), Size(1024, 768))
    tall = hires_size(Size(512, 512), scale=None, resize_x=768, resize_y=1024)
    assert (tall.work, tall.final) == (Size(1024, 1024), Size(768, 1024))
