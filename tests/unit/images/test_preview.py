from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.support.pictures import file, noise, smooth
from worker.images.formats.picture import BrokenPicture, Picture
from worker.images.inspect import inspect
from worker.images.preview import hashed, preview

# by the reference implementation
REFERENCE = [
    (Image.new("RGB", (32, 32), "white"), (1, 1), "00TSUA"),
    (Image.new("RGB", (32, 32), "black"), (4, 3), "L00000fQfQfQfQfQfQfQfQfQfQfQ"),
    (Image.new("RGB", (32, 32), (200, 30, 90)), (4, 3), "L5M^#v|zfQ|z|zo2fQo2fQfQfQfQ"),
    (smooth(32, 32), (4, 3), "L,HetWl}gJnm2zWFfjWrw%jufQju"),
    (noise(32, 32), (3, 1), "24Heh3~q#S"),
]


@pytest.mark.parametrize(("image", "components", "expected"), REFERENCE)
def test_a_blurhash_is_the_one_that_every_reader_expects(
    image: Image.Image, components: tuple[int, int], expected: str
) -> None:
    assert hashed(image, *components) == expected


def test_a_thumbnail_is_a_small_jpeg_of_the_same_shape_without_notes() -> None:
    picture = inspect(file(smooth(512, 256)))
    made = preview(picture, side=128, blurhash=False).thumbnail
    assert made is not None
    assert (made.format, made.width, made.height, made.infotext) == ("jpeg", 128, 64, None)
    assert inspect(made.data) == made
    with Image.open(BytesIO(made.data)) as small:
        difference = ImageChops.difference(small, smooth(512, 256).resize((128, 64)))
    assert max(ImageStat.Stat(difference).mean) < 4


def test_a_picture_smaller_than_its_thumbnail_is_not_blown_up() -> None:
    made = preview(inspect(file(smooth(64, 64))), side=512, blurhash=False).thumbnail
    assert made is not None
    assert (made.width, made.height) == (64, 64)


def test_transparency_lies_on_white_in_both() -> None:
    made = preview(inspect(file(Image.new("RGBA", (64, 64), (0, 0, 0, 0)))), side=16, blurhash=True)
    assert made.thumbnail is not None
    with Image.open(BytesIO(made.thumbnail.data)) as small:
        assert small.getpixel((0, 0)) == (255, 255, 255)
    assert made.blurhash == hashed(Image.new("RGB", (64, 64), "white"))


def test_what_is_not_asked_for_costs_no_decoding() -> None:
    undecodable = Picture(b"nothing", "png", 8, 8)
    assert preview(undecodable, side=None, blurhash=False).thumbnail is None
    with pytest.raises(BrokenPicture):
        preview(undecodable, side=None, blurhash=True)
