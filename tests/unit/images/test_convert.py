from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageChops, ImageStat

from tests.support.pictures import file, noise, pixels, png, smooth
from worker.images.convert import available, convert, encode
from worker.images.formats.picture import BrokenPicture, Picture
from worker.images.inspect import inspect

if TYPE_CHECKING:
    from worker.images.formats.picture import Format

TEXT = 'жар-птица, a "cat" 🦊\nNegative prompt: dog\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 64x64'
FORMATS: list[Format] = ["png", "jpeg", "webp", "avif"]


def drawn() -> Picture:
    return encode(smooth(96, 64), "png", infotext=TEXT)


@pytest.mark.parametrize("target", FORMATS)
def test_the_infotext_travels_into_every_format(target: Format) -> None:
    made = convert(drawn(), format=target)
    assert inspect(made.data) == made
    assert (made.format, made.width, made.height, made.infotext) == (target, 96, 64, TEXT)


@pytest.mark.parametrize("target", FORMATS)
def test_a_stripped_picture_has_no_trace_of_its_infotext(target: Format) -> None:
    for made in (convert(drawn(), format=target, strip=True), convert(convert(drawn(), format=target), strip=True)):
        assert inspect(made.data) == made
        assert made.infotext is None
        for encoding in ("utf-8", "utf-16-be", "utf-16-le"):
            assert "Euler a".encode(encoding) not in made.data


@pytest.mark.parametrize("target", FORMATS)
def test_stripping_alone_changes_no_pixel(target: Format) -> None:
    made = convert(drawn(), format=target)
    assert pixels(convert(made, strip=True).data) == pixels(made.data)


def test_what_needs_no_change_is_handed_back_as_it_is() -> None:
    picture = drawn()
    assert convert(picture) is picture
    assert convert(picture, format="png", quality=50) is picture
    jpeg = convert(picture, format="jpeg")
    assert convert(jpeg, format="jpeg") is jpeg


def test_the_picture_given_is_never_changed() -> None:
    picture = drawn()
    before = (picture.data, picture.infotext)
    for target in FORMATS:
        convert(picture, format=target, quality=30, strip=True)
    assert (picture.data, picture.infotext) == before


@pytest.mark.parametrize("target", ["jpeg", "webp", "avif"])
def test_quality_buys_bytes(target: Format) -> None:
    picture = inspect(file(noise(128, 128)))
    sizes = [len(convert(picture, format=target, quality=quality).data) for quality in (10, 50, 95)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2] / 2


def test_lossless_webp_keeps_every_pixel() -> None:
    picture = inspect(file(noise(64, 64, mode="RGBA")))
    assert pixels(convert(picture, format="webp", lossless=True).data, "RGBA") == pixels(picture.data, "RGBA")


@pytest.mark.parametrize("target", ["jpeg", "webp", "avif"])
def test_a_lossy_picture_still_looks_the_same(target: Format) -> None:
    picture = drawn()
    made = convert(picture, format=target)
    with Image.open(BytesIO(picture.data)) as one, Image.open(BytesIO(made.data)) as other:
        assert max(ImageStat.Stat(ImageChops.difference(one, other.convert("RGB"))).mean) < 3


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixels_can_be_written(mode: str, target: Format) -> None:
    image = smooth(32, 32).convert("L").convert("I;16") if mode == "I;16" else smooth(32, 32).convert(mode)
    made = encode(image, target)
    assert inspect(made.data) == made


def test_transparency_lies_on_white_where_the_format_has_none() -> None:
    clear = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    assert pixels(encode(clear, "jpeg").data) == b"\xff" * 16 * 16 * 3
    assert pixels(encode(clear, "webp").data, "RGBA")[3] == 0
    palette = clear.quantize(4)
    assert pixels(encode(palette, "jpeg").data)[:3] == b"\xff\xff\xff"


def test_an_infotext_too_long_for_jpeg_is_left_out_and_the_picture_says_so() -> None:
    assert encode(smooth(16, 16), "jpeg", infotext="ж" * 32_000).infotext is not None
    too_long = encode(smooth(16, 16), "jpeg", infotext="ж" * 33_000)
    assert too_long.infotext is None
    assert inspect(too_long.data) == too_long
    plain = "word, " * 10_000
    assert inspect(encode(smooth(16, 16), "jpeg", infotext=plain).data).infotext == plain
    assert inspect(encode(smooth(16, 16), "webp", infotext="ж" * 33_000).data).infotext == "ж" * 33_000


def test_pixels_that_cannot_be_decoded_are_a_broken_picture() -> None:
    whole = png(256, 256)
    broken = Picture(whole[:20_000], "png", 256, 256)
    with pytest.raises(BrokenPicture, match="can't be decoded"):
        convert(broken, format="jpeg")


def test_a_format_this_worker_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import features

    monkeypatch.setattr(features, "check", lambda _name: False)
    assert not available("avif")
    with pytest.raises(ValueError, match="can't write avif"):
        convert(drawn(), format="avif")


def test_many_threads_convert_the_same_picture_alike() -> None:
    picture = drawn()
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda index: convert(picture, format=FORMATS[index % 3]), range(24)))
    assert len({one.data for one in made}) == 3
