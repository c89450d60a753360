from __future__ import annotations

import base64
from io import BytesIO

import pytest
from PIL import Image

from worker.images.incoming import (
    Sides,
    as_mask,
    fitted,
    grown,
    is_empty,
    nearest_size,
    opaque,
    read_picture,
    to_base64,
)
from worker.images.picture import BrokenPicture


def file(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def test_a_picture_is_turned_upright_by_its_exif_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = file(Image.new("RGB", (64, 32), "red"), "JPEG", exif=exif)
    assert read_picture(data, max_pixels=10_000).size == (32, 64)


def test_base64_and_data_urls_are_read() -> None:
    text = base64.b64encode(file(Image.new("RGB", (8, 8)))).decode()
    assert read_picture(text, max_pixels=64).size == (8, 8)
    assert read_picture(f"data:image/png;base64,{text}", max_pixels=64).size == (8, 8)


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    data = file(Image.new("1", (20_000, 20_000)))
    assert len(data) < 100_000
    with pytest.raises(BrokenPicture, match="20000x20000"):
        read_picture(data, max_pixels=1_000_000)


@pytest.mark.parametrize("data", [b"", b"hello", file(Image.new("RGB", (64, 64)))[:-20], "!!!!"])
def test_what_is_no_whole_picture_is_refused(data: bytes | str) -> None:
    with pytest.raises(BrokenPicture):
        read_picture(data, max_pixels=10_000)


def test_transparency_lies_on_white() -> None:
    image = read_picture(file(Image.new("RGBA", (8, 8), (255, 0, 0, 0))), max_pixels=64)
    assert opaque(image).getpixel((0, 0)) == (255, 255, 255)


def test_a_mask_is_the_transparency_where_there_is_any_else_the_brightness() -> None:
    assert as_mask(Image.new("RGBA", (4, 4), (255, 255, 255, 7))).getpixel((0, 0)) == 7
    assert as_mask(Image.new("RGBA", (4, 4), (255, 255, 255, 255))).getpixel((0, 0)) == 255
    assert as_mask(Image.new("RGB", (4, 4), "black")).getpixel((0, 0)) == 0
    assert is_empty(as_mask(Image.new("RGB", (4, 4), "black")))


def test_a_mask_is_fitted_to_its_picture() -> None:
    assert fitted(Image.new("L", (10, 10)), (64, 32)).size == (64, 32)


@pytest.mark.parametrize(
    ("size", "near"), [((501, 333), (504, 336)), ((512, 512), (512, 512)), ((10, 5000), (64, 2048))]
)
def test_sizes_become_the_nearest_multiples_of_8(size: tuple[int, int], near: tuple[int, int]) -> None:
    assert nearest_size(*size, low=64, high=2048) == near


def test_a_picture_grows_by_its_edge_and_the_mask_shows_what_is_new() -> None:
    image = Image.new("RGB", (64, 64), "red")
    canvas, mask = grown(image, None, Sides(left=32, bottom=16), overlap=8)
    assert (canvas.size, mask.size) == ((96, 80), (96, 80))
    assert canvas.getpixel((0, 79)) == (255, 0, 0)
    assert mask.getpixel((0, 0)) == 255
    assert mask.getpixel((39, 0)) == 255
    assert mask.getpixel((40, 0)) == 0
    assert mask.getpixel((95, 55)) == 0
    assert mask.getpixel((95, 56)) == 255


def test_a_mask_inside_the_picture_stays_when_it_grows() -> None:
    inner = Image.new("L", (64, 64), 0)
    inner.paste(255, (20, 20, 30, 30))
    _, mask = grown(Image.new("RGB", (64, 64)), inner, Sides(right=32), overlap=0)
    assert mask.getpixel((25, 25)) == 255
    assert mask.getpixel((10, 10)) == 0


def test_what_goes_on_is_a_picture_of_our_own() -> None:
    text = to_base64(Image.new("RGB", (8, 8), "red"))
    assert read_picture(text, max_pixels=64).getpixel((0, 0)) == (255, 0, 0)
