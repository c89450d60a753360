from __future__ import annotations

import base64
import struct
import zlib
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.pictures import file, noise, png, smooth
from worker.images.formats.av1 import coded_pixels
from worker.images.formats.exif import user_comment, with_comment
from worker.images.formats.picture import BrokenPicture, Picture
from worker.images.inspect import decode_base64, inspect, is_black, sniff

TEXTS = ["a cat\nSteps: 20, Seed: 1, Size: 64x64", "жар-птица 🦊\nSteps: 1", "café, \x7f"]
EXIF = with_comment(TEXTS[0])
FILES = {
    "png": png(infotext=TEXTS[0]),
    "png, indexed": file(noise(40, 30).quantize(16)),
    "png, 16 bit": file(Image.new("I;16", (20, 20), 77)),
    "png, large": file(noise(512, 400)),
    "jpeg": file(noise(64, 48), "JPEG", exif=EXIF),
    "jpeg, progressive": file(noise(64, 48), "JPEG", progressive=True),
    "jpeg, restarts": file(noise(64, 48), "JPEG", restart_marker_blocks=2),
    "webp": file(noise(64, 48), "WEBP", exif=EXIF),
    "webp, lossless": file(noise(64, 48), "WEBP", lossless=True),
    "webp, transparent": file(noise(63, 49, mode="RGBA"), "WEBP"),
    "webp, moving": file(noise(64, 48), "WEBP", save_all=True, append_images=[noise(64, 48, seed=2)]),
    "avif": file(noise(64, 48), "AVIF", exif=EXIF, speed=10),
}
WALKED = sorted(FILES)


@pytest.mark.parametrize("name", WALKED)
def test_format_and_size_are_read(name: str) -> None:
    with Image.open(BytesIO(FILES[name])) as image:
        found = inspect(FILES[name], thorough=True)
        assert (found.format.upper(), found.width, found.height) == (image.format, *image.size)


@given(st.sampled_from(WALKED), st.data())
def test_a_file_cut_anywhere_is_broken(name: str, data: st.DataObject) -> None:
    whole = FILES[name]
    with pytest.raises(BrokenPicture):
        inspect(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.data())
def test_a_changed_byte_of_a_png_is_noticed(data: st.DataObject) -> None:
    whole = FILES["png"]
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    with pytest.raises(BrokenPicture):
        inspect(whole[:at] + bytes([byte]) + whole[at + 1 :])


@given(st.sampled_from(WALKED), st.data())
@settings(max_examples=100)
def test_damage_ends_in_a_picture_or_a_broken_picture_and_nothing_else(name: str, data: st.DataObject) -> None:
    whole = bytearray(FILES[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(whole) - 1, 400)))  # the headers are where damage matters
        whole[at] = data.draw(st.integers(0, 255))
    try:
        picture = inspect(bytes(whole))
    except BrokenPicture:
        return
    assert picture.width > 0


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBP"]))
def test_any_bytes_end_in_a_broken_picture(data: bytes, head: bytes) -> None:
    try:
        picture = inspect(head + data)
    except BrokenPicture:
        return
    assert picture.width > 0


@pytest.mark.parametrize("text", TEXTS)
def test_the_infotext_of_a_png_is_read(text: str) -> None:
    assert inspect(png(infotext=text)).infotext == text


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_the_infotext_of_the_others_is_read_from_the_user_comment(text: str, kind: str) -> None:
    assert inspect(file(noise(16, 16), kind, exif=with_comment(text))).infotext == text


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16"])
def test_a_user_comment_is_read_in_either_byte_order(order: str, encoding: str) -> None:
    comment = b"UNICODE\0" + "a cat, Steps: 20".encode(encoding)
    head = b"II*\0" if order == "<" else b"MM\0*"
    block = head + struct.pack(order + "I", 8)
    block += struct.pack(order + "HHHIII", 1, 0x8769, 4, 1, 26, 0)
    block += struct.pack(order + "HHHIII", 1, 0x9286, 7, len(comment), 44, 0)
    assert user_comment(block + comment) == "a cat, Steps: 20"


@given(
    st.text(min_size=1).filter(
        lambda text: text.rstrip("\0") == text and text == text.encode("utf-16", "replace").decode("utf-16")
    )
)
def test_a_user_comment_comes_back_as_it_was_written(text: str) -> None:
    block = with_comment(text)
    assert block is not None
    # a text of few characters may look the same in both byte orders; what is read is text all the same
    assert user_comment(block) == text or not any(ord(sign) < 256 for sign in text)


@given(st.binary(max_size=300))
def test_no_exif_block_is_too_strange_to_read(block: bytes) -> None:
    for order in (b"MM\0*", b"II*\0"):
        found = user_comment(order + block)
        assert found is None or found


def test_pixels_that_end_early_within_whole_chunks_are_noticed() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    def built(width: int, height: int, stream: bytes) -> bytes:
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")

    raw = (b"\0" + bytes(64 * 3)) * 64
    whole = zlib.compress(raw)
    assert inspect(built(64, 64, whole)).width == 64
    for stream in (whole[: len(whole) // 2], whole[:-4], zlib.compress(raw[:-193]), zlib.compress(raw + b"x"), b""):
        with pytest.raises(BrokenPicture, match="pixels"):
            inspect(built(64, 64, stream))
    big = zlib.compress((b"\0" + bytes(1024 * 3)) * 1024)
    with pytest.raises(BrokenPicture, match="pixels"):
        inspect(built(1024, 1024, big[:-100]), thorough=True)


def test_an_interlaced_png_that_inflates_to_far_more_than_its_size_is_refused_early() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    bomb = zlib.compress(bytes(50_000_000))
    header = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 1)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bomb) + chunk(b"IEND", b"")
    with pytest.raises(BrokenPicture, match="more pixels"):
        inspect(data)


def test_a_jpeg_of_thousands_of_scans_is_refused_before_anybody_decodes_it() -> None:
    whole = FILES["jpeg, progressive"]
    assert inspect(whole).width == 64
    last = whole.rindex(b"\xff\xda")
    bomb = whole[:last] + whole[last:-2] * 20_000 + whole[-2:]
    with pytest.raises(BrokenPicture, match=r"scans|pieces"):
        inspect(bomb)


def test_a_file_in_more_pieces_than_any_program_writes_is_refused() -> None:
    plain = FILES["png"]
    note = struct.pack(">I", 0) + b"aaAa" + struct.pack(">I", zlib.crc32(b"aaAa"))
    jpeg, webp = FILES["jpeg"], FILES["webp"]
    chunks = webp[12:] + b"abcd\0\0\0\0" * 30_000
    for data in (
        plain[:33] + note * 30_000 + plain[33:],
        jpeg[:2] + b"\xff\xe9\0\2" * 30_000 + jpeg[2:],
        b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks,
        FILES["avif"] + struct.pack(">I", 8) * 2 * 30_000,
    ):
        with pytest.raises(BrokenPicture, match="pieces"):
            inspect(data)


def test_notes_in_more_segments_than_any_program_writes_are_refused() -> None:
    jpeg = FILES["jpeg"]
    for note in (b"\xff\xe1\0\x0aExif\0\0ab", b"\xff\xfe\0\x04ab"):
        inspect(jpeg[:2] + note * 50 + jpeg[2:])
        with pytest.raises(BrokenPicture, match=r"100\d segments of notes"):
            inspect(jpeg[:2] + note * 1000 + jpeg[2:])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"GIF89a....", "GIF"),
        (b"hello there", r"starts with 68656c6c6f"),
    ],
)
def test_what_is_no_picture_is_called_by_its_name(data: bytes, words: str) -> None:
    with pytest.raises(BrokenPicture, match=words):
        inspect(data)


def test_the_base64_that_came_is_kept_and_not_made_again() -> None:
    data = png()
    text = base64.b64encode(data).decode()
    picture = inspect(data, base64=text)
    assert picture.base64 is text
    fresh = inspect(data)
    assert fresh.base64_length == len(text)
    assert fresh.base64 == text
    assert fresh.base64 is fresh.base64
    assert fresh == picture


def test_a_picture_does_not_print_its_bytes() -> None:
    assert len(repr(inspect(png(512, 512)))) < 200


@given(st.binary(min_size=1, max_size=100), st.sampled_from(["", "data:image/png;base64,", "DATA:;BASE64,"]))
def test_base64_comes_back_with_or_without_a_data_url(data: bytes, prefix: str) -> None:
    assert decode_base64(prefix + base64.b64encode(data).decode()) == data


def test_base64_in_lines_is_read() -> None:
    data = png()
    assert decode_base64(base64.encodebytes(data).decode()) == data


@pytest.mark.parametrize(
    "text",
    [
        "",
        "=",
        "QQ=",
        "QQ",
        "Q===",
        "Q",
        "QQ==QQ==",
        "QUJD*",
        "QU*D",
        "QUJ-",
        "QUJDé",
        "data:image/png,QUJD",
        "data:,",
        "   ",
        "\n",
    ],
)
def test_what_is_not_whole_base64_is_refused(text: str) -> None:
    with pytest.raises(BrokenPicture):
        decode_base64(text)


@given(st.text(max_size=60))
def test_no_text_is_too_strange_to_decode(text: str) -> None:
    try:
        data = decode_base64(text)
    except BrokenPicture:
        return
    assert data


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [64, 1024])
def test_a_black_picture_is_told_from_a_dark_one(kind: str, size: int) -> None:
    black = Image.new("RGB", (size, size))
    assert is_black(inspect(file(black, kind)))
    black.paste((9, 9, 9), (8, 8, 40, 40))
    assert not is_black(inspect(file(black, kind)))
    assert not is_black(inspect(file(smooth(size, size), kind)))


def test_a_picture_of_something_is_not_decoded_to_see_that_it_is_not_black() -> None:
    undecodable = Picture(b"\x89PNG" * 100_000, "png", 512, 512)
    assert not is_black(undecodable)


def test_sniffing_goes_by_content() -> None:
    assert [sniff(FILES[name]) for name in ("png", "jpeg", "webp", "avif")] == ["png", "jpeg", "webp", "avif"]
    assert sniff(b"") is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
@pytest.mark.parametrize("level", [1, 9])
@given(pixels=st.lists(st.sampled_from([0, 0, 0, 1, 4, 5, 255]), min_size=12, max_size=12))
@settings(max_examples=10)
def test_the_quick_look_at_a_png_never_says_otherwise_than_its_pixels(mode: str, level: int, pixels: list[int]) -> None:
    small = Image.new("L", (4, 3))
    small.putdata(pixels)
    image = small.resize((64, 48), Image.Resampling.NEAREST).convert(mode)
    truth = all(band[1] == 0 for band in image.convert("RGB").getextrema() if isinstance(band, tuple))
    assert is_black(inspect(file(image, compress_level=level))) is truth


@pytest.mark.parametrize("name", ["png", "jpeg", "webp"])
def test_bytes_behind_the_end_of_a_picture_are_passed_over(name: str) -> None:
    whole = FILES[name]
    assert inspect(whole + b"\0\xff trailing").infotext == inspect(whole).infotext


@pytest.mark.parametrize("kind", ["tEXt", "iTXt"])
def test_an_infotext_behind_the_pixels_is_found(kind: str) -> None:
    text = b"parameters\0" + (b"\0\0\0\0" if kind == "iTXt" else b"") + b"a cat\nSteps: 20"
    note = kind.encode() + text
    chunk = struct.pack(">I", len(text)) + note + struct.pack(">I", zlib.crc32(note))
    for plain in (file(noise(40, 30)), FILES["png, large"]):
        assert inspect(plain[:-12] + chunk + plain[-12:]).infotext == "a cat\nSteps: 20"


def test_a_picture_larger_than_allowed_is_refused_before_its_pixels_are_decoded() -> None:
    for name in ("png", "jpeg", "webp", "avif"):
        assert inspect(FILES[name], max_pixels=10_000).width == 64
        with pytest.raises(BrokenPicture, match=r"64x.* more than 1000 pixels"):
            inspect(FILES[name], max_pixels=1000)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 49), (1, 1), (1000, 8)])
def test_the_coded_size_of_an_avif_is_its_own(width: int, height: int, mode: str) -> None:
    data = file(noise(width, height, mode=mode), "AVIF", speed=10)
    assert coded_pixels(data) == width * height


def test_an_avif_that_lies_about_its_size_is_refused_before_it_is_decoded() -> None:
    data = file(smooth(2000, 1500), "AVIF", speed=10)
    at = data.index(b"ispe") + 8
    assert struct.unpack_from(">II", data, at) == (2000, 1500)
    liar = data[:at] + struct.pack(">II", 8, 8) + data[at + 8 :]
    with Image.open(BytesIO(liar)) as image:
        assert image.size == (8, 8)
    for most in (10_000, 2_000_000):  # the second is more than half of its 3 million
        with pytest.raises(BrokenPicture, match=f"says 8x8 and decodes to more than {most} pixels"):
            inspect(liar, max_pixels=most)


@given(st.data())
@settings(max_examples=100)
def test_damage_to_an_avif_s_boxes_ends_in_a_size_or_a_broken_picture(data: st.DataObject) -> None:
    whole = bytearray(FILES["avif"])
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, min(len(whole) - 1, 600)))] = data.draw(st.integers(0, 255))
    try:
        assert coded_pixels(bytes(whole)) > 0
    except BrokenPicture:
        return
