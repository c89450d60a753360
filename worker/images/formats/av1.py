"""The size that the AV1 data in an AVIF decodes to, which its container need not tell truthfully.

A decoder allocates what the AV1 sequence header says, then scales to the size in the container (`ispe`), which is all
that Pillow reports. Sources: AVIF 1.1, ISO 14496-12 (`iloc`, `iinf`), AV1 bitstream specification 5.3 to 5.5.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from worker.images.formats.containers import MOST_PIECES, avif_boxes
from worker.images.formats.picture import BrokenPicture

if TYPE_CHECKING:
    from collections.abc import Iterator

_SEQUENCE_HEADER = 1
_FULL_BOX = 4
_LEVEL_WITH_TIER = 7
_IN_FILE, _IN_IDAT = 0, 1
_LONGEST_SIZE = 8


def coded_pixels(data: bytes) -> int:
    """Return the pixels that an AVIF of one picture decodes to: its largest item's, or half of all where that is more.

    Alpha is an item of its own, and a large picture may be several tiles.

    Raises:
        BrokenPicture: the items can't be found or read, or are a video's.
    """
    try:
        top = {kind: (start, end) for kind, start, end in avif_boxes(data)}
        if b"moov" in top:
            raise BrokenPicture("a moving AVIF; send one frame of it")
        start, end = top[b"meta"]
        meta = {kind: data[first:last] for kind, first, last in avif_boxes(data, start + _FULL_BOX, end)}
        coded = _coded_items(meta[b"iinf"])
        items = _items(meta[b"iloc"], data, meta.get(b"idat", b""))
        sizes = [_pixels(content) for item, content in items if item in coded]
    except (KeyError, struct.error, IndexError):
        raise BrokenPicture("an AVIF whose items can't be found") from None
    if not sizes:
        raise BrokenPicture("an AVIF without pictures")
    return max(*sizes, (sum(sizes) + 1) // 2)


def _coded_items(iinf: bytes) -> set[int]:
    """Return the ids of the items that are AV1 pictures."""
    found = set()
    for kind, start, end in avif_boxes(iinf, 6 if iinf[0] == 0 else 8):
        entry = iinf[start:end]
        if kind == b"infe":
            item, _, item_type = struct.unpack_from(">IH4s" if entry[0] > 2 else ">HH4s", entry, _FULL_BOX)  # noqa: PLR2004 - version 3 has longer ids
            if item_type == b"av01":
                found.add(item)
    return found


def _items(iloc: bytes, data: bytes, idat: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield id and content of every item."""
    reader = _Bits(iloc)
    version = reader.take(8)
    reader.take(24)
    left = 2 * len(data)  # items that overlap could ask for any amount of bytes
    offset_size, length_size, base_size, index_size = (reader.take(4) * 8 for _ in range(4))
    for _ in range(reader.take(32 if version == 2 else 16)):  # noqa: PLR2004 - version 2 has longer ids
        item = reader.take(32 if version == 2 else 16)  # noqa: PLR2004 - as above
        method = reader.take(16) & 0xF if version else _IN_FILE
        if method not in (_IN_FILE, _IN_IDAT):
            raise BrokenPicture("an AVIF whose items are parts of others")
        reader.take(16)
        base = reader.take(base_size)
        source = idat if method == _IN_IDAT else data
        content = b""
        for _ in range(reader.take(16)):
            reader.take(index_size if version else 0)
            start = base + reader.take(offset_size)
            length = reader.take(length_size)
            extent = source[start : start + length] if length else source[start:]
            left -= len(extent)
            if left < 0:
                raise BrokenPicture("an AVIF whose items overlap")
            content += extent
        yield item, content


def _pixels(content: bytes) -> int:
    """Return the largest size in the sequence headers of an AV1 picture."""
    largest = at = units = 0
    while at < len(content) and units <= MOST_PIECES:
        units += 1
        header = content[at]
        at += 2 if header & 4 else 1
        size = len(content) - at
        if header & 2:
            size, at = _leb128(content, at)
        if header >> 3 & 15 == _SEQUENCE_HEADER:
            largest = max(largest, _sequence_pixels(content[at : at + size]))
        at += size
    if not largest or units > MOST_PIECES:
        raise BrokenPicture("an AVIF whose pictures have no size")
    return largest


def _sequence_pixels(header: bytes) -> int:
    bits = _Bits(header)
    bits.take(4)  # profile, still picture
    if bits.take(1):  # reduced header
        bits.take(5)
    else:
        if bits.take(1):
            raise BrokenPicture("an AVIF with the timing of a video")
        has_delay = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > _LEVEL_WITH_TIER:
                bits.take(1)
            if has_delay and bits.take(1):
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return (bits.take(width_bits) + 1) * (bits.take(height_bits) + 1)


def _leb128(content: bytes, at: int) -> tuple[int, int]:
    """Return a number of 7 bits a byte, and the place behind it."""
    value = 0
    for index in range(_LONGEST_SIZE):
        byte = content[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:  # noqa: PLR2004 - the last byte
            return value, at + index + 1
    raise BrokenPicture("an AVIF with a bad length")


class _Bits:
    """Numbers of any length in bits, most significant first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number. Raises IndexError behind the end."""
        first, self._at = self._at, self._at + count
        if self._at > 8 * len(self._data):
            raise IndexError
        last = (self._at + 7) // 8
        chunk = int.from_bytes(self._data[first // 8 : last], "big")
        return chunk >> (8 * last - self._at) & ((1 << count) - 1)
