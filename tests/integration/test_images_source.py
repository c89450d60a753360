from __future__ import annotations

import base64
import struct
import threading
import zlib
from io import BytesIO
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageOps

from tests.support.loopback_http import Reply, Request, serve
from tests.support.pictures import file, noise, pixels, png, smooth
from worker.errors import InvalidInput
from worker.images.inspect import inspect
from worker.images.source import InputLimits, Sources, fitting_size
from worker.net.addresses import AllowList
from worker.net.fetch import Fetcher
from worker.net.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.images.picture import Picture

    Make = Callable[..., Sources]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Sources] = []

    def sources(
        *allow: str, limits: InputLimits | None = None, stored: Callable[[str, int], bytes] | None = None
    ) -> Sources:
        made.append(Sources(Fetcher(Guard(AllowList.of(allow))), limits, stored=stored))
        return made[-1]

    yield sources
    for one in made:
        one.close()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def one(sources: Sources, text: str, *, flatten: bool = False) -> Picture:
    (picture,) = sources.load([("init_images[0]", text)], flatten=flatten)
    return picture


def refusal(sources: Sources, text: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        one(sources, text)
    (problem,) = caught.value.problems
    assert problem.path == "init_images[0]"
    return problem.message


@pytest.mark.parametrize("data", [png(), file(noise(64, 48), "JPEG"), file(noise(64, 48), "WEBP")])
def test_a_plain_picture_passes_as_it_is(make: Make, data: bytes) -> None:
    text = b64(data)
    bare = one(make(), text)
    assert (bare.data, bare.encoded) == (data, text)
    assert one(make(), f"data:image/png;base64,{text}").base64 == text
    assert one(make(), base64.encodebytes(data).decode()).base64 == text


def test_a_picture_by_url_is_fetched_from_where_the_operator_allows(make: Make) -> None:
    data = png()
    with serve(lambda _request: Reply(body=data, headers={"Content-Type": "text/plain"})) as server:
        assert one(make("127.0.0.1"), f"{server.url}/a.png?sig=s3cr3t").data == data
        assert "does not lead to a public address" in refusal(make(), server.url)
        assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(404), "HTTP 404"),
        (Reply(503), "HTTP 503"),
        (Reply(body=b"<!DOCTYPE html><html>"), "a web page"),
        (Reply(body=png()[:-20], headers={"Content-Type": "image/png"}), "cut at byte"),
        (Reply(body=b"x" * 60_000), "the limit is 50000"),
        (Reply(302, headers={"Location": "http://169.254.169.254/latest/meta-data/"}), "public address"),
        (Reply(302, headers={"Location": "file:///etc/passwd"}), "only http and https"),
    ],
)
def test_what_a_url_must_not_give_is_refused_with_its_field(make: Make, reply: Reply, words: str) -> None:
    sources = make("127.0.0.1", limits=InputLimits(max_bytes=50_000))
    with serve(lambda _request: reply) as server:
        message = refusal(sources, f"{server.url}/a.png?sig=s3cr3t")
    assert words in message
    assert "s3cr3t" not in message


def test_a_slow_url_is_given_up(make: Make) -> None:
    sources = make("127.0.0.1", limits=InputLimits(fetch_s=0.3))
    stop = threading.Event()

    def wait(_request: Request) -> Reply:
        stop.wait(20)
        return Reply()

    with serve(wait) as server:
        assert "in time" in refusal(sources, server.url)
        stop.set()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("/workspace/input.png", "not base64, not a data URL"),
        ("file:///etc/passwd", "file:// is not read"),
        ("ftp://example.com/a.png", "ftp:// is not read"),
        ("s3://pics/a.png", "there is none"),
        ("data:image/png,abc", "data URL"),
        ("http://user:secret@example.com/a.png", "credentials"),
        (b64(b"GIF89a" + b"x" * 20), "GIF"),
        (b64(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "SVG"),
        (b64(png()[:5000]), "cut at byte"),
        (b64(file(noise(64, 48), "JPEG")[:-2]), "cut at byte"),
        (b64(file(noise(64, 48), "WEBP", save_all=True, append_images=[noise(64, 48, seed=2)])), "moving WEBP"),
        (b64(file(noise(64, 48), "PNG", save_all=True, append_images=[noise(64, 48, seed=2)])), "moving PNG"),
    ],
)
def test_what_is_no_usable_picture_is_refused_with_its_field(make: Make, text: str, words: str) -> None:
    message = refusal(make(), text)
    assert words in message
    assert "secret" not in message


def test_a_bomb_is_refused_before_it_is_unpacked(make: Make) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**7)))
        + chunk(b"IEND", b"")
    )
    assert "50000x50000 is more than the limit" in refusal(make(), b64(bomb))


def test_pixels_that_end_early_are_found_though_headers_are_whole(make: Make) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1024, 1024, 8, 2, 0, 0, 0)
    stream = zlib.compress((b"\0" + bytes(1024 * 3)) * 100)
    short = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stream) + chunk(b"IEND", b"")
    assert "fewer pixels" in refusal(make(), b64(short))
    broken = file(noise(256, 256), "WEBP", lossless=True)
    damaged = broken[:26] + b"\xff" * 174 + broken[200:]
    assert "can't be decoded" in refusal(make(), b64(damaged))


def test_too_many_bytes_are_refused_before_they_are_decoded(make: Make) -> None:
    assert "the limit is 1000" in refusal(make(limits=InputLimits(max_bytes=1000)), "A" * 10_000)
    assert "the limit is 1000" in refusal(make(limits=InputLimits(max_bytes=1000)), b64(png(32, 32)))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_its_exif_says(make: Make, kind: str, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = file(smooth(64, 32), kind, exif=exif)
    made = one(make(), b64(data))
    with Image.open(BytesIO(data)) as image:
        wanted = ImageOps.exif_transpose(image)
        assert (made.width, made.height) == wanted.size == ((32, 64) if turn > 4 else (64, 32))
        assert pixels(made.data) == wanted.convert("RGB").tobytes()
    assert (made.data == data) is (turn == 1)


def test_transparency_is_kept_or_laid_on_white(make: Make) -> None:
    data = file(Image.new("RGBA", (64, 64), (255, 0, 0, 0)))
    kept = one(make(), b64(data))
    assert kept.data == data
    flat = one(make(), b64(data), flatten=True)
    assert pixels(flat.data)[:3] == b"\xff\xff\xff"
    with Image.open(BytesIO(flat.data)) as image:
        assert image.mode == "RGB"


def test_deep_grey_is_scaled_not_cut_off(make: Make) -> None:
    for value, wanted in ((0, 0), (257 * 100, 100), (65535, 255)):
        made = one(make(), b64(file(Image.new("I;16", (64, 64), value))))
        assert pixels(made.data, "L")[0] == wanted


@pytest.mark.parametrize("mode", ["CMYK", "L"])
def test_inks_become_light(make: Make, mode: str) -> None:
    made = one(make(), b64(file(smooth(64, 64).convert(mode), "JPEG")))
    with Image.open(BytesIO(made.data)) as image:
        assert image.mode == ("RGB" if mode == "CMYK" else "L")


def test_an_avif_becomes_a_png(make: Make) -> None:
    made = one(make(), b64(file(smooth(64, 48), "AVIF")))
    assert (made.format, made.width, made.height) == ("png", 64, 48)
    assert inspect(made.data) == made


def test_every_picture_that_can_not_be_used_is_named(make: Make) -> None:
    with pytest.raises(InvalidInput) as caught:
        make().load([("init_images[0]", b64(png())), ("init_images[1]", "nope!"), ("mask", "file:///x")])
    assert [problem.path for problem in caught.value.problems] == ["init_images[1]", "mask"]


def test_pictures_come_back_in_their_order(make: Make) -> None:
    wanted = [(f"init_images[{number}]", b64(png(16, 16, seed=number))) for number in range(12)]
    found = make().load(wanted)
    assert [picture.base64 for picture in found] == [text for _, text in wanted]


def test_a_stored_picture_is_read_through_the_store(make: Make) -> None:
    data = png()

    def stored(url: str, most: int) -> bytes:
        if url != "s3://pics/a.png":
            raise LookupError("only keys below 'out' are read")
        return data

    assert one(make(stored=stored), "s3://pics/a.png").data == data
    assert refusal(make(stored=stored), "s3://pics/b.png") == "only keys below 'out' are read"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ((512, 768), (512, 768)),
        ((500, 300), (496, 304)),
        ((1, 1), (64, 64)),
        ((4000, 3000), (2048, 1536)),
        ((10_000, 10), (2048, 64)),
        ((2048, 2048), (2048, 2048)),
    ],
)
def test_the_size_to_work_in_is_the_pictures_own(given: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert fitting_size(*given) == wanted


@pytest.mark.parametrize("given", [(3000, 1000), (1023, 1025), (5000, 5000), (64, 9000)])
def test_the_size_to_work_in_keeps_the_limits(given: tuple[int, int]) -> None:
    width, height = fitting_size(*given, max_side=1536, max_pixels=1024 * 1024)
    assert width * height <= 1024 * 1024
    assert max(width, height) <= 1536
    assert width % 8 == height % 8 == 0
