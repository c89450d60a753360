"""PNG (ISO 15948): signature, then chunks of length, type, data and CRC-32 of type and data."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from worker.images.exif import user_comment
from worker.images.formats.found import Found, not_too_many
from worker.images.picture import BrokenPicture

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"parameters"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_NOTES = (*_TEXTS, b"eXIf", b"tIME")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_SMALL = 512 * 1024
_EIGHT_BITS, _OPAQUE, _LAST_FILTER, _PEEK = 8, (0, 2), 4, 4096
_MOST_TEXT = 4 * 1024 * 1024
_HEADER = 13
_LONGEST_SIDE = 0x7FFFFFFF

Chunk = tuple[bytes, int, int]
"""Type, and the place of its data's start and end in the file."""


def chunks(data: bytes) -> Iterator[Chunk]:
    """Yield every chunk up to IEND, its CRC checked; what lies behind is nobody's.

    Raises:
        BrokenPicture: a cut or damaged chunk, no end.
    """
    view = memoryview(data)
    at, total = len(SIGNATURE), len(data)
    kind = b""
    count = 0
    while kind != b"IEND":
        count += 1
        not_too_many(count)
        if at + 12 > total:
            raise BrokenPicture(f"a PNG cut at byte {total}")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > total:
            raise BrokenPicture(f"a PNG cut at byte {total}, within {_name(kind)}")
        if zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise BrokenPicture(f"a PNG with a damaged {_name(kind)} chunk")
        yield kind, at + 8, end
        at = end + 4


def read(data: bytes, *, thorough: bool = False) -> Found:
    """Return what the file says about itself; `thorough`: inflate it however large it is."""
    infotext: str | None = None
    exif: bytes | None = None
    frames = False
    pixels: list[tuple[int, int]] = []
    walk = chunks(data)
    first, start, end = next(walk)
    if first != b"IHDR":
        raise BrokenPicture("a PNG whose header is not its first chunk")
    width, height, raw, plain = _header(data[start:end])
    for kind, start, end in walk:
        if kind == b"IDAT":
            pixels.append((start, end))
        elif kind in _TEXTS and infotext is None:
            infotext = _parameters(kind, data[start:end])
        elif kind == b"eXIf":
            exif = data[start:end]
        elif kind == b"acTL":
            frames = True
    if not pixels:
        raise BrokenPicture("a PNG without pixels")
    if raw <= _SMALL or thorough:
        _inflate(data, pixels, raw, exact=plain)
    if infotext is None and exif is not None:
        infotext = user_comment(exif)
    return Found(width, height, infotext, exif, frames)


def surely_not_black(data: bytes) -> bool:
    """Return True where the first pixels already tell; False says nothing. Never raises.

    In a picture of grey or true colour without alpha, black pixels are zeros under every filter (ISO 15948, 9), and a
    row's filter type is 4 at most: any larger byte is a pixel that is not black.
    """
    try:
        walk = chunks(data)
        _, start, _ = next(walk)
        if data[start + 8] != _EIGHT_BITS or data[start + 9] not in _OPAQUE:
            return False
        at = next(start for kind, start, _ in walk if kind == b"IDAT")
        return max(zlib.decompressobj().decompress(data[at : at + _PEEK], _PEEK), default=0) > _LAST_FILTER
    except (BrokenPicture, StopIteration, zlib.error):
        return False


def without_notes(data: bytes) -> bytes:
    """Return the same picture without texts, EXIF and time."""
    kept = [SIGNATURE]
    kept += [data[start - 8 : end + 4] for kind, start, end in chunks(data) if kind not in _NOTES]
    return b"".join(kept)


def _header(chunk: bytes) -> tuple[int, int, int, bool]:
    """Return width, height, the bytes that the pixels inflate to, and whether that is exact (not if interlaced)."""
    if len(chunk) != _HEADER:
        raise BrokenPicture("a PNG with a bad header")
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunk)
    if colour not in _CHANNELS or not 0 < width <= _LONGEST_SIDE or not 0 < height <= _LONGEST_SIDE:
        raise BrokenPicture(f"a PNG with a bad header: {width}x{height}, colour type {colour}")
    row = (width * depth * _CHANNELS[colour] + 7) // 8 + 1
    return width, height, row * height, not interlaced


def _inflate(data: bytes, pixels: list[tuple[int, int]], raw: int, *, exact: bool) -> None:
    """Check that the pixel stream ends, that its checksum holds, and that it has `raw` bytes (roughly or exactly)."""
    view = memoryview(data)
    stream = zlib.decompressobj()
    most = raw if exact else 2 * raw + 1024
    seen = 0
    try:
        for start, end in pixels:
            rest: bytes | memoryview = view[start:end]
            while rest and not stream.eof and seen <= most:
                seen += len(stream.decompress(rest, _SMALL))
                rest = stream.unconsumed_tail
        while not stream.eof and seen <= most:  # what the limit on one piece held back
            piece = stream.decompress(b"", _SMALL)
            seen += len(piece)
            if not piece:
                raise BrokenPicture("a PNG whose pixels end early")
    except zlib.error:
        raise BrokenPicture("a PNG with damaged pixels") from None
    if seen > most or (exact and seen < raw):
        raise BrokenPicture(f"a PNG with {'more' if seen > most else 'fewer'} pixels than its header says")


def _parameters(kind: bytes, chunk: bytes) -> str | None:
    keyword, separator, rest = chunk.partition(b"\0")
    if keyword != KEYWORD or not separator or len(rest) > _MOST_TEXT:
        return None
    if kind == b"tEXt":
        return rest.decode("latin-1")
    if kind == b"zTXt":
        text = _unpacked(rest[1:])
        return text.decode("latin-1") if text is not None else None
    packed = rest[:1] == b"\1"
    _language, _, rest = rest[2:].partition(b"\0")
    _translated, _, rest = rest.partition(b"\0")
    text = _unpacked(rest) if packed else rest
    return text.decode("utf-8", "replace") if text is not None else None


def _unpacked(packed: bytes) -> bytes | None:
    stream = zlib.decompressobj()
    try:
        text = stream.decompress(packed, _MOST_TEXT)
    except zlib.error:
        return None
    return text if stream.eof else None


def _name(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalpha() else kind.hex()
