"""Pictures as people send them: other spellings of base64, other containers, formats that are only named."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from PIL import Image
from pydantic_core import PydanticCustomError

from worker.contract.types.picture_ref import source_of
from worker.images.client_base64 import decode_clients_base64
from worker.images.formats.brands import brands_of, foreign_format
from worker.images.formats.picture import BrokenPicture
from worker.images.formats.readable import as_still
from worker.images.incoming import is_transparent, read_picture
from worker.images.stealth import hidden_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST = 1_000_000


def file(kind: str, size: tuple[int, int] = (20, 12), mode: str = "RGB", **settings: object) -> bytes:
    image = Image.effect_noise(size, 90).convert(mode)
    written = io.BytesIO()
    image.save(written, kind, **settings)
    return written.getvalue()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


PNG = file("PNG", (21, 13))


@pytest.mark.parametrize(
    "spell",
    [
        lambda whole: whole,
        lambda whole: whole.rstrip("="),
        lambda whole: whole + "==",
        lambda whole: whole.translate(str.maketrans("+/", "-_")),
        lambda whole: whole.translate(str.maketrans("+/", "-_")).rstrip("="),
        lambda whole: "\n".join(whole[at : at + 76] for at in range(0, len(whole), 76)),
        lambda whole: "\ufeff" + whole,
        lambda whole: "data:image/png;base64," + whole,
        lambda whole: "data:image/jpeg;charset=utf-8;base64," + quote(whole, safe=""),
    ],
)
def test_base64_is_read_in_its_usual_spellings(spell: Callable[[str], str]) -> None:
    spelt = spell(text(PNG))
    assert source_of(spelt) in {"base64", "data"}
    assert decode_clients_base64(spelt) == PNG
    assert read_picture(spelt, max_pixels=MOST).size == (21, 13)


@pytest.mark.parametrize(
    ("around", "why"),
    [
        ("b'{}'", "repr of bytes"),
        ('"{}"', "quotation marks"),
        ("'{}'", "quotation marks"),
        ("data:image/png;base64,data:image/png;base64,{}", "twice"),
        ("image/png;base64,{}", "lacks `data:`"),
        ("base64,{}", "lacks `data:`"),
        ("data:,", "empty canvas"),
    ],
)
def test_what_is_around_the_base64_is_named(around: str, why: str) -> None:
    with pytest.raises(PydanticCustomError, match=why):
        source_of(around.format(text(PNG)))


def test_what_is_encoded_twice_is_called_that() -> None:
    with pytest.raises(BrokenPicture, match="encoded twice"):
        read_picture(text(text(PNG).encode()), max_pixels=MOST)


@pytest.mark.parametrize("stray", ["QUJD*", "QUJDé", "Q===Q"])
def test_a_stray_character_is_still_an_error(stray: str) -> None:
    with pytest.raises(BrokenPicture):
        decode_clients_base64(stray)


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "1"])
def test_formats_that_pillow_reads_are_read(kind: str, mode: str) -> None:
    data = file(kind, mode=mode)
    with Image.open(io.BytesIO(data)) as image:
        assert read_picture(data, max_pixels=MOST).tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF"])
def test_the_size_of_such_a_file_is_judged_by_its_header(kind: str) -> None:
    with pytest.raises(BrokenPicture, match="more than 100 pixels"):
        read_picture(file(kind), max_pixels=100)
    with pytest.raises(BrokenPicture):
        read_picture(file(kind)[:40], max_pixels=MOST)


def tiff(tags: Sequence[tuple[int, int, int, int]] = (), *, pages: int = 1) -> bytes:
    """A grey TIFF of 8x8 pixels, with one list of tags for each page."""
    plain = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8), (279, 4, 1, 64), *tags]
    entries = struct.pack("<H", len(plain)) + b"".join(struct.pack("<HHII", *each) for each in plain)
    first, size = 8 + 64, len(entries) + 4
    following = [first + number * size for number in range(1, pages)] + [0]
    start = struct.pack("<4sI", b"II*\0", first) + bytes(64)
    return start + b"".join(entries + struct.pack("<I", place) for place in following)


FRAME = b"\x2c" + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
GIF = b"GIF89a" + struct.pack("<HH", 8, 8) + b"\x80\0\0" + bytes(6)


def test_a_small_tiff_and_gif_by_hand_are_read() -> None:
    assert read_picture(tiff(), max_pixels=MOST).size == (8, 8)
    assert read_picture(GIF + FRAME + b";", max_pixels=MOST).size == (8, 8)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (tiff(pages=20_000), "several pictures"),
        (tiff([(40_000 + number, 3, 1, 0) for number in range(20_000)]), "tags"),
        (tiff([(40_000, 4, 3_000_000, 8)]) + bytes(12_000_000), "values"),
        (tiff([(40_000 + number, 7, 900_000, 8) for number in range(200)]) + bytes(900_000), "values"),
        (GIF + FRAME * 100_000 + b";", "several pictures"),
        (GIF + b"\x21\xfe\x01a\0" * 100_000 + FRAME + b";", "pieces"),
        (GIF + FRAME[:-1] + b"\x01\x44" * 100_000 + b"\0;", "pieces"),
        (GIF + b"\x21\xff\x0bNETSCAPE2.0" + b"\x03\1\0\0" * 100_000 + b"\0" + FRAME, "pieces"),
    ],
    ids=["pages", "tags", "strips", "overlapping", "frames", "comments", "blocks", "loops"],
)
def test_a_tiff_or_gif_in_more_pieces_than_any_program_writes_is_refused_at_once(data: bytes, why: str) -> None:
    with pytest.raises(BrokenPicture, match=why):
        read_picture(data, max_pixels=MOST)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_tiff_whose_white_nobody_knows_is_no_black_picture(mode: str) -> None:
    with pytest.raises(BrokenPicture, match="32 bits a pixel; send 8 or 16"):
        read_picture(file("TIFF", mode=mode), max_pixels=MOST)


@pytest.mark.parametrize("kind", ["GIF", "TIFF"])
def test_a_file_of_several_pictures_is_not_guessed_at(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green")]
    written = io.BytesIO()
    frames[0].save(written, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(BrokenPicture, match="several pictures"):
        read_picture(written.getvalue(), max_pixels=MOST)


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "HEIC"),
        (b"\xff\x0a\x00\x00", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS\0\x01", "PSD"),
        (b"  <svg xmlns=", "SVG"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "video"),
    ],
)
def test_other_formats_are_named(start: bytes, name: str) -> None:
    assert name in (foreign_format(start) or "")
    with pytest.raises(BrokenPicture, match=name):
        read_picture(start + bytes(100), max_pixels=MOST)


@pytest.mark.parametrize("brand", [b"avif", b"mif1", b"miaf", b"MA1B", b"avis"])
def test_an_avif_is_known_by_any_of_its_brands(brand: bytes) -> None:
    data = file("AVIF", (64, 64))
    assert b"avif" in brands_of(data)
    renamed = data[:8] + brand + data[12:]
    if b"avif" not in renamed[16 : int.from_bytes(data[:4], "big")]:
        renamed = data[:8] + brand + data[12:16] + b"avif" + data[20:]
    assert read_picture(renamed, max_pixels=MOST).size == (64, 64)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def animated(frames: int, *, first: bool) -> bytes:
    """Return a PNG with the marks of an animation."""
    data = file("PNG", (8, 8))
    more = _chunk(b"acTL", struct.pack(">II", frames, 0))
    if first:
        more += _chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 10, 0, 0))
    return data[:33] + more + data[33:]


@pytest.mark.parametrize("first", [True, False])
def test_a_png_whose_animation_has_one_frame_is_a_still_picture(*, first: bool) -> None:
    data = animated(1, first=first)
    assert b"acTL" not in as_still(data)
    assert read_picture(data, max_pixels=MOST).size == (8, 8)
    with pytest.raises(BrokenPicture, match="moving"):
        read_picture(animated(2, first=first), max_pixels=MOST)


def test_the_first_picture_of_an_mpo_is_taken() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "green")]
    written = io.BytesIO()
    frames[0].save(written, "MPO", save_all=True, append_images=frames[1:])
    pixel = read_picture(written.getvalue(), max_pixels=MOST).getpixel((8, 8))
    assert isinstance(pixel, tuple)
    assert pixel[0] > 200 > pixel[1]


def test_only_a_wholly_transparent_picture_is_called_that() -> None:
    image = Image.new("RGBA", (8, 8), (200, 10, 10, 0))
    assert is_transparent(image)
    image.putpixel((3, 3), (0, 0, 0, 1))
    assert not is_transparent(image)
    assert not is_transparent(Image.new("RGB", (8, 8)))


def hidden(said: str, *, size: tuple[int, int] = (48, 40)) -> Image.Image:
    """Return a picture with `said` in the lowest bits of its alpha channel, column by column."""
    body = said.encode()
    bits = "".join(f"{byte:08b}" for byte in b"stealth_pnginfo" + struct.pack(">I", len(body) * 8) + body)
    image = Image.new("RGBA", size, (10, 20, 30, 254))
    for place, bit in enumerate(bits):
        x, y = divmod(place, size[1])
        image.putpixel((x, y), (10, 20, 30, 254 | int(bit)))
    return image


def test_notes_in_the_alpha_channel_are_read() -> None:
    said = "a girl\nNegative prompt: x\nSteps: 20, Sampler: Euler a"
    assert hidden_text(hidden(said)) == said
    assert hidden_text(Image.new("RGBA", (48, 40), (1, 2, 3, 255))) is None
    assert hidden_text(Image.new("RGB", (48, 40))) is None
    assert hidden_text(hidden(said).crop((0, 0, 10, 40))) is None
