"""WebP: a RIFF file whose length is known, with a VP8 (lossy), VP8L (lossless) or VP8X (extended) chunk first."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from worker.images.exif import user_comment
from worker.images.formats.found import Found, not_too_many
from worker.images.picture import BrokenPicture

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOTES = (b"EXIF", b"XMP ")
_FLAG_EXIF, _FLAG_XMP, _FLAG_ANIMATED = 0x08, 0x04, 0x02
_EXTENDED, _LOSSY, _LOSSLESS = 10, 10, 5

Chunk = tuple[bytes, int, int]


def chunks(data: bytes) -> Iterator[Chunk]:
    """Yield type and place of every chunk.

    Raises:
        BrokenPicture: cut.
    """
    if len(data) < 20:  # noqa: PLR2004 - header and one chunk's header
        raise BrokenPicture(f"a WebP cut at byte {len(data)}")
    total = struct.unpack_from("<I", data, 4)[0] + 8
    if total > len(data):
        raise BrokenPicture(f"a WebP cut at byte {len(data)} of {total}")
    at = 12
    count = 0
    while at < total:
        count += 1
        not_too_many(count)
        if at + 8 > total:
            raise BrokenPicture(f"a WebP cut at byte {total}")
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length
        if end > total:
            raise BrokenPicture(f"a WebP cut at byte {total}")
        yield kind, at + 8, end
        at = end + (length & 1)


def read(data: bytes) -> Found:
    """Return what the file says about itself."""
    canvas: tuple[int, int] | None = None
    image: tuple[int, int] | None = None
    exif: bytes | None = None
    frames = False
    for kind, start, end in chunks(data):
        body = data[start : min(end, start + 32)]
        if kind == b"VP8X":
            canvas = _canvas(body)
            frames = bool(body[0] & _FLAG_ANIMATED)
        elif kind == b"VP8 ":
            image = _lossy(body, end - start)
        elif kind == b"VP8L":
            image = _lossless(body)
        elif kind == b"ANMF":
            image = canvas
        elif kind == b"EXIF" and exif is None:
            exif = data[start:end]
    if image is None:
        raise BrokenPicture("a WebP without pixels")
    width, height = canvas or image
    return Found(width, height, user_comment(exif) if exif else None, exif, frames)


def without_notes(data: bytes) -> bytes:
    """Return the same picture without EXIF and XMP."""
    kept = [b"WEBP"]
    for kind, start, end in chunks(data):
        if kind in _NOTES:
            continue
        body = data[start:end]
        if kind == b"VP8X":
            body = bytes([body[0] & ~(_FLAG_EXIF | _FLAG_XMP)]) + body[1:]
        kept.append(kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1))
    whole = b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


def _canvas(body: bytes) -> tuple[int, int]:
    if len(body) < _EXTENDED:
        raise BrokenPicture("a WebP with a bad header")
    return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1


def _lossy(body: bytes, length: int) -> tuple[int, int]:
    if len(body) < _LOSSY or body[3:6] != b"\x9d\x01\x2a":
        raise BrokenPicture("a WebP with a bad header")
    first_part = int.from_bytes(body[:3], "little") >> 5
    if first_part + _LOSSY > length:
        raise BrokenPicture("a WebP whose pixels end early")
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def _lossless(body: bytes) -> tuple[int, int]:
    if len(body) < _LOSSLESS or body[0] != 0x2F:  # noqa: PLR2004 - its signature
        raise BrokenPicture("a WebP with a bad header")
    bits = int.from_bytes(body[1:5], "little")
    return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
