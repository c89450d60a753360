"""The structure of a TIFF or GIF, judged before Pillow walks it. Pure.

Pillow counts the pages of a TIFF in time quadratic in their number (ten minutes for 11 MB) and takes whatever number of
strips, blocks and values a file has. Sources: TIFF 6.0, GIF89a.
"""

from __future__ import annotations

import struct

from worker.images.formats.containers import MOST_PIECES
from worker.images.formats.picture import BrokenPicture

MOST_TAGS = 300
"""Of a TIFF; programs write a few dozen."""
_ENTRY = 12
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_GIF_SCREEN, _GIF_FRAME = 13, 10
_EXTENSION, _IMAGE, _GIF_END = 0x21, 0x2C, 0x3B
_FULL_BLOCK = 255


def check_pages(data: bytes, kind: str) -> None:
    """Check a TIFF or GIF; files of other kinds pass.

    Raises:
        BrokenPicture: cut, of several pictures, or in more pieces than any program writes.
    """
    try:
        if kind == "TIFF":
            _check_tiff(data)
        elif kind == "GIF":
            _check_gif(data)
    except (struct.error, IndexError):
        raise BrokenPicture(f"a {kind} cut at byte {len(data)}") from None


def _check_tiff(data: bytes) -> None:
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (tags,) = struct.unpack_from(f"{order}H", data, at)
    if tags > MOST_TAGS:
        raise BrokenPicture(f"a TIFF of {tags} tags")
    left = 2 * len(data)  # values that overlap could ask for any amount of bytes
    for index in range(tags):
        kind, count = struct.unpack_from(f"{order}2xHI", data, at + 2 + _ENTRY * index)
        size = _VALUE_BYTES.get(kind, 1)
        left -= size * count
        if left < 0 or (size > 1 and count > MOST_PIECES):
            raise BrokenPicture("a TIFF with more values than any program writes")
    (following,) = struct.unpack_from(f"{order}I", data, at + 2 + _ENTRY * tags)
    if following:
        raise BrokenPicture("a TIFF of several pictures; send one of them")


def _check_gif(data: bytes) -> None:
    at = _GIF_SCREEN + _colours(data[10])
    frames = pieces = 0
    while at < len(data) and data[at] != _GIF_END:
        start = data[at]
        if start == _IMAGE:
            frames += 1
            at += _GIF_FRAME + _colours(data[at + 9]) + 1
        elif start == _EXTENSION:
            at += 2
        else:
            raise BrokenPicture(f"a GIF with a damaged block at byte {at}")
        if frames > 1:
            raise BrokenPicture("a GIF of several pictures; send one of them")
        while length := data[at]:
            at += 1 + length
            pieces += length < _FULL_BLOCK
            if pieces > MOST_PIECES:
                raise BrokenPicture(f"a GIF in more than {MOST_PIECES} pieces")
        at, pieces = at + 1, pieces + 1


def _colours(flags: int) -> int:
    """Return the bytes of the table of colours that these flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
