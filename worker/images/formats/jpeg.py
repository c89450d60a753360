"""JPEG (ITU T.81): markers FF xx with lengths, and entropy-coded data, where FF is followed by 00 or a restart."""

from __future__ import annotations

import re
import struct

from worker.images.exif import user_comment
from worker.images.formats.found import Found, not_too_many
from worker.images.picture import BrokenPicture

_SOI, _EOI, _SOS, _APP1, _COM = 0xD8, 0xD9, 0xDA, 0xE1, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_NOTES = frozenset({_APP1, _COM, 0xED})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_EXIF = b"Exif\0\0"
_FRAME_HEADER = 6
_MOST_SCANS = 200
"""Programs write about ten; each costs a pass over all pixels, and an empty one costs the file ten bytes."""

Segment = tuple[int, int, int]
"""Marker, and the place of its payload's start and end."""


def segments(data: bytes) -> list[Segment]:
    """Return every segment from the first after SOI to EOI.

    Raises:
        BrokenPicture: cut, or not in the form of a JPEG.
    """
    found: list[Segment] = []
    at = 2
    while True:
        at, marker = _marker(data, at)
        if marker == _EOI:
            found.append((marker, at, at))
            return found
        if marker in _ALONE:
            continue
        if at + 2 > len(data):
            raise BrokenPicture(f"a JPEG cut at byte {len(data)}")
        (length,) = struct.unpack_from(">H", data, at)
        end = at + length
        if length < 2 or end > len(data):  # noqa: PLR2004 - the length counts its own two bytes
            raise BrokenPicture(f"a JPEG cut at byte {len(data)}")
        found.append((marker, at + 2, end))
        not_too_many(len(found))
        at = end
        if marker == _SOS:
            following = _NEXT_MARKER.search(data, at)
            if following is None:
                raise BrokenPicture(f"a JPEG cut at byte {len(data)}, within its pixels")
            at = following.start()


def read(data: bytes) -> Found:
    """Return what the file says about itself."""
    width = height = 0
    scans = 0
    exif: bytes | None = None
    comment: str | None = None
    for marker, start, end in segments(data):
        if marker in _FRAMES:
            if end - start < _FRAME_HEADER:
                raise BrokenPicture("a JPEG with a bad header")
            _, height, width = struct.unpack_from(">BHH", data, start)
        elif marker == _SOS:
            scans += 1
        elif marker == _APP1 and exif is None and data[start : start + 6] == _EXIF:
            exif = data[start:end]
        elif marker == _COM and comment is None:
            comment = data[start:end].decode("utf-8", "replace")
    if scans > _MOST_SCANS:
        raise BrokenPicture(f"a JPEG of {scans} scans")
    if not scans:
        raise BrokenPicture("a JPEG without pixels")
    infotext = user_comment(exif) if exif is not None else None
    return Found(width, height, infotext or comment, exif)


def without_notes(data: bytes) -> bytes:
    """Return the same picture without EXIF, XMP, IPTC and comments; colour profiles stay."""
    kept: list[bytes] = []
    at = 0
    for marker, start, end in segments(data):
        if marker in _NOTES:
            kept.append(data[at : start - 4])
            at = end
    kept.append(data[at:])
    return b"".join(kept)


def _marker(data: bytes, at: int) -> tuple[int, int]:
    """Return the place behind the marker at `at`, and the marker; fill bytes are passed over."""
    if at >= len(data):
        raise BrokenPicture(f"a JPEG cut at byte {len(data)}")
    if data[at] != 0xFF:  # noqa: PLR2004 - every marker starts so
        raise BrokenPicture(f"a JPEG without a marker at byte {at}")
    while at < len(data) and data[at] == 0xFF:  # noqa: PLR2004 - as above
        at += 1
    if at >= len(data):
        raise BrokenPicture(f"a JPEG cut at byte {len(data)}")
    return at + 1, data[at]
