from __future__ import annotations

import base64
import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageOps

from worker.images.formats.picture import BrokenPicture
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


def test_the_transparency_of_a_rounded_mask_is_all_or_nothing_as_the_webui_has_it() -> None:
    shades = [as_mask(Image.new("RGBA", (4, 4), (9, 9, 9, alpha)), rounded=True) for alpha in (128, 129)]
    assert [shade.getpixel((0, 0)) for shade in shades] == [0, 255]
    assert as_mask(Image.new("L", (4, 4), 100), rounded=True).getpixel((0, 0)) == 100


def test_a_grey_mask_counts_only_where_it_is_not_rounded() -> None:
    grey = Image.new("L", (4, 4), 100)
    assert is_empty(grey)
    assert not is_empty(grey, rounded=False)
    assert is_empty(Image.new("L", (4, 4), 0), rounded=False)


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


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_moving_picture_is_refused_rather_than_cut_to_a_frame(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = file(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(BrokenPicture, match=f"a moving {kind}"):
        read_picture(data, max_pixels=10_000)


def test_rows_that_are_missing_are_not_taken_for_black_ones() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1024, 1024, 8, 2, 0, 0, 0)
    stream = zlib.compress((b"\0" + bytes(1024 * 3)) * 100)
    short = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    with pytest.raises(BrokenPicture, match="fewer pixels"):
        read_picture(short, max_pixels=10**7)


def test_damaged_pixels_of_other_formats_are_found() -> None:
    whole = file(Image.effect_noise((256, 256), 80).convert("RGB"), "WEBP", lossless=True)
    with pytest.raises(BrokenPicture, match="can't be decoded"):
        read_picture(whole[:26] + b"\xff" * 174 + whole[200:], max_pixels=10**6)


def test_deep_grey_is_scaled_not_cut_off() -> None:
    for value, wanted in ((0, 0), (257 * 100, 100), (65535, 255)):
        image = read_picture(file(Image.new("I;16", (8, 8), value)), max_pixels=64)
        assert image.getpixel((0, 0)) == (wanted, wanted, wanted)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_in_all_eight_ways(kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = file(Image.linear_gradient("L").resize((64, 32)).convert("RGB"), kind, exif=exif)
    with Image.open(BytesIO(data)) as image:
        wanted = ImageOps.exif_transpose(image).convert("RGB")
    made = read_picture(data, max_pixels=10_000)
    assert made.size == wanted.size == ((32, 64) if turn > 4 else (64, 32))
    assert made.tobytes() == wanted.tobytes()
