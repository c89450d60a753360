"""Picture files as sequences of chunks, for what Pillow does not do: removing notes without touching a pixel."""

from __future__ import annotations

import re
import struct
import zlib
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING

from PIL import Image

from worker.images.formats.picture import BrokenPicture, Format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_PIECES = 20_000
"""Chunks of one file: each takes some microseconds to look at, here and in whatever decodes it."""
MOST_SCANS = 200
"""Of a JPEG: programs write about ten; each costs a pass over all pixels, and an empty one only ten bytes."""
MOST_NOTES = 200
"""Segments of a JPEG with texts, EXIF or XMP: whatever joins them copies all that came before with each."""
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_NOTES = frozenset({b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME"})
_JPEG_NOTES = frozenset({b"\xff\xe1", b"\xff\xed", b"\xff\xfe"})
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_JPEG_ALONE = re.compile(rb"\xff[\x01\xd0-\xd7]")
_JPEG_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
_WEBP_NOTES = frozenset({b"EXIF", b"XMP "})
_WEBP_NOTE_FLAGS = 0x08 | 0x04
_EMPTY_TIFF = b"MM\0*\0\0\0\x08\0\0"
_WIDE_BOX = 16

Chunk = tuple[bytes, int, int]
"""Type, and the place of its data's start and end in the file."""


def png_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a PNG up to IEND, their checksums checked; bytes behind IEND don't belong to it."""
    at, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        length, kind = _unpack(">I4s", data, at)
        start, end = at + 8, at + 8 + length
        (checksum,) = _unpack(">I", data, end)
        if zlib.crc32(memoryview(data)[at + 4 : end]) != checksum:
            raise BrokenPicture(f"a PNG with a damaged {kind.decode('ascii', 'backslashreplace')} chunk")
        yield kind, start, end
        at = end + 4


def jpeg_segments(data: bytes) -> Iterator[Chunk]:
    """Yield the segments of a JPEG from the first after SOI up to EOI; their type is the marker."""
    at = 2
    while True:
        found = _JPEG_MARKER.search(data, at)
        if found is None:
            raise BrokenPicture(f"a JPEG cut at byte {len(data)}")
        at, marker = found.end(), found.group()[-2:]
        if marker == _JPEG_END:
            return
        if _JPEG_ALONE.fullmatch(marker):
            continue
        (length,) = _unpack(">H", data, at)
        yield marker, at + 2, at + length
        at += max(2, length)


def webp_chunks(data: bytes) -> Iterator[Chunk]:
    """Yield the chunks of a WebP within the length that its header says."""
    (length,) = _unpack("<I", data, 4)
    at = 12
    while at < length + 8:
        kind, size = _unpack("<4sI", data, at)
        yield kind, at + 8, at + 8 + size
        at += 8 + size + (size & 1)


def avif_boxes(data: bytes, start: int = 0, end: int | None = None) -> Iterator[Chunk]:
    """Yield the boxes of an AVIF (ISO 14496-12) between two places; they have to fill them."""
    at, end = start, len(data) if end is None else end
    while at < end:
        length, kind = _unpack(">I4s", data, at)
        header = 8
        if length == 1:
            (length,), header = _unpack(">Q", data, at + 8), _WIDE_BOX
        elif length == 0:
            length = end - at
        if length < header or at + length > end:
            raise BrokenPicture(f"an AVIF cut at byte {end}")
        yield kind, at + header, at + length
        at += length


_WALKS: dict[Format, Callable[[bytes], Iterator[Chunk]]] = {
    "png": png_chunks,
    "jpeg": jpeg_segments,
    "webp": webp_chunks,
    "avif": avif_boxes,
}


def chunks_of(data: bytes, kind: Format) -> list[Chunk]:
    """Return the chunks of a file.

    Raises:
        BrokenPicture: cut, damaged, or in more pieces than any program writes.
    """
    found: list[Chunk] = []
    for chunk in _WALKS[kind](data):
        found.append(chunk)
        if len(found) > MOST_PIECES:
            raise BrokenPicture(f"a picture in more than {MOST_PIECES} pieces")
    scans = sum(1 for marker, _, _ in found if marker == _JPEG_SCAN)
    if scans > MOST_SCANS:
        raise BrokenPicture(f"a JPEG of {scans} scans")
    notes = sum(1 for marker, _, _ in found if marker in _JPEG_NOTES)
    if notes > MOST_NOTES:
        raise BrokenPicture(f"a JPEG with {notes} segments of notes")
    return found


def check_png_pixels(data: bytes, chunks: list[Chunk]) -> None:
    """Check that the pixel stream ends, that its checksum holds and that it has the bytes its header promises.

    Decoders take missing rows for black ones.

    Raises:
        BrokenPicture: it does not.
    """
    expected, is_exact = png_raw_size(data)
    most = expected if is_exact else 2 * expected + 1024
    stream = zlib.decompressobj()
    size = 0
    try:
        for kind, start, end in chunks:
            rest = data[start:end] if kind == b"IDAT" else b""
            while rest and not stream.eof and size <= most:
                size += len(stream.decompress(rest, most + 1 - size))
                rest = stream.unconsumed_tail
    except zlib.error:
        raise BrokenPicture("a PNG with damaged pixels") from None
    if size > most:
        raise BrokenPicture("a PNG with more pixels than its header says")
    if not stream.eof:
        raise BrokenPicture("a PNG whose pixels end early")
    if is_exact and size < expected:
        raise BrokenPicture("a PNG with fewer pixels than its header says")


def png_raw_size(data: bytes) -> tuple[int, bool]:
    """Return the bytes that a PNG's pixels inflate to, and whether that is exact: it is not where rows interlace."""
    width, height, depth, colour, _, _, interlaced = _unpack(">IIBBBBB", data, len(PNG_SIGNATURE) + 8)
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 4)
    return ((width * depth * channels + 7) // 8 + 1) * height, not interlaced


def without_notes(data: bytes, kind: Format) -> bytes:
    """Return the same picture, bit for bit, without texts, EXIF, XMP and comments; colour profiles stay."""
    return {"png": _plain_png, "jpeg": _plain_jpeg, "webp": _plain_webp, "avif": _plain_avif}[kind](data)


def _plain_png(data: bytes) -> bytes:
    kept = (data[start - 8 : end + 4] for kind, start, end in png_chunks(data) if kind not in _PNG_NOTES)
    return PNG_SIGNATURE + b"".join(kept)


def _plain_jpeg(data: bytes) -> bytes:
    cuts = [(start - 4, end) for marker, start, end in jpeg_segments(data) if marker in _JPEG_NOTES]
    places = [0, *(place for cut in cuts for place in cut), len(data)]
    return b"".join(data[start:end] for start, end in list(pairwise(places))[::2])


def _plain_webp(data: bytes) -> bytes:
    kept = [b"WEBP"]
    for kind, start, end in webp_chunks(data):
        body = data[start:end]
        if kind == b"VP8X":
            body = bytes([body[0] & ~_WEBP_NOTE_FLAGS]) + body[1:]
        if kind not in _WEBP_NOTES:
            kept.append(kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1))
    whole = b"".join(kept)
    return b"RIFF" + struct.pack("<I", len(whole)) + whole


def _plain_avif(data: bytes) -> bytes:
    """Blank the notes in place, so that no offset moves."""
    with Image.open(BytesIO(data), formats=["AVIF"]) as image:
        exif, xmp = (image.info.get(name) or b"" for name in ("exif", "xmp"))
    for note, empty in ((exif.removeprefix(b"Exif\0\0"), _EMPTY_TIFF), (xmp, b"")):
        if len(note) >= len(empty) and note:
            data = data.replace(note, empty + b"\0" * (len(note) - len(empty)))
    return data


def _unpack(layout: str, data: bytes, at: int) -> tuple:  # type: ignore[type-arg]  # as the layout says
    try:
        return struct.unpack_from(layout, data, at)
    except struct.error:
        raise BrokenPicture(f"a picture cut at byte {len(data)}") from None
