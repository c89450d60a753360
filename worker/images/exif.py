"""The one EXIF field that matters here: UserComment, where A1111 keeps the infotext of JPEG, WebP and AVIF.

TIFF structure: an 8-byte header with the byte order and the place of the first directory; a directory is a count and
12-byte entries (tag, type, count, value or place). UserComment lives in the EXIF sub-directory and starts with an
8-byte name of its character code. `Orientation` is read too, for pictures that come in.
"""

from __future__ import annotations

import struct

_PREFIX = b"Exif\0\0"
_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286
_ORIENTATION = 0x0112
_UNDEFINED = 7
_LONG = 4
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 10: 8}
_MOST_ENTRIES = 1000
_CODE = 8

UNICODE = b"UNICODE\0"
ASCII = b"ASCII\0\0\0"
_UNDEFINED_CODE = b"\0" * _CODE


def user_comment(block: bytes) -> str | None:
    """Return the text of UserComment in an EXIF block (with or without the `Exif` prefix), None when there is none."""
    tiff = block.removeprefix(_PREFIX)
    order = _order(tiff)
    if order is None:
        return None
    place = _entries(tiff, order, _first(tiff, order)).get(_EXIF_IFD)
    if place is None:
        return None
    raw = _entries(tiff, order, _number(place, order)).get(_USER_COMMENT)
    return _text(raw, order) if raw else None


def orientation(block: bytes) -> int:
    """Return how the picture has to be turned (1 to 8, as EXIF counts; 1: not at all)."""
    tiff = block.removeprefix(_PREFIX)
    order = _order(tiff)
    if order is None:
        return 1
    value = _entries(tiff, order, _first(tiff, order)).get(_ORIENTATION)
    number = _number(value, order) if value else 1
    return number if 1 <= number <= 8 else 1  # noqa: PLR2004 - EXIF's range


def with_comment(text: str, *, limit: int | None = None) -> bytes | None:
    """Return an EXIF block (`Exif` prefix included) that holds `text` alone, as A1111 writes it.

    UTF-16; plain ASCII where that is shorter than `limit` bytes and UTF-16 is not; None where nothing fits.
    """
    for value in _encodings(text):
        block = _block(value)
        if limit is None or len(block) <= limit:
            return block
    return None


def _encodings(text: str) -> list[bytes]:
    wide = UNICODE + text.encode("utf-16-be", "replace")
    return [wide, ASCII + text.encode("ascii")] if text.isascii() else [wide]


def _block(comment: bytes) -> bytes:
    first, second = 8, 26
    header = b"MM\0*" + struct.pack(">I", first)
    ifd = struct.pack(">HHHIII", 1, _EXIF_IFD, _LONG, 1, second, 0)
    sub = struct.pack(">HHHIII", 1, _USER_COMMENT, _UNDEFINED, len(comment), second + 18, 0)
    return _PREFIX + header + ifd + sub + comment


def _order(tiff: bytes) -> str | None:
    return {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])


def _first(tiff: bytes, order: str) -> int:
    return int(struct.unpack(order + "I", tiff[4:8])[0]) if len(tiff) >= 8 else len(tiff)  # noqa: PLR2004 - header's size


def _entries(tiff: bytes, order: str, place: int) -> dict[int, bytes]:
    """Return tag → value bytes of the directory at `place`; entries that point outside are left out."""
    found: dict[int, bytes] = {}
    if place + 2 > len(tiff):
        return found
    (count,) = struct.unpack_from(order + "H", tiff, place)
    for index in range(min(count, _MOST_ENTRIES)):
        at = place + 2 + 12 * index
        if at + 12 > len(tiff):
            break
        tag, kind, number = struct.unpack_from(order + "HHI", tiff, at)
        size = _SIZES.get(kind, 0) * number
        start = at + 8 if size <= 4 else struct.unpack_from(order + "I", tiff, at + 8)[0]  # noqa: PLR2004 - an entry holds 4 bytes itself
        if size and start + size <= len(tiff):
            found[tag] = tiff[start : start + size]
    return found


def _number(value: bytes, order: str) -> int:
    if len(value) == 2:  # noqa: PLR2004 - a SHORT
        return int(struct.unpack(order + "H", value)[0])
    return int(struct.unpack(order + "I", value)[0]) if len(value) == 4 else 0  # noqa: PLR2004 - a LONG


def _text(raw: bytes, order: str) -> str | None:
    code, value = raw[:_CODE], raw[_CODE:]
    if code == UNICODE:
        return _utf16(value, order).rstrip("\0") or None
    if code in (ASCII, _UNDEFINED_CODE):
        return value.decode("utf-8", "replace").rstrip("\0") or None
    return None


def _utf16(value: bytes, order: str) -> str:
    """Decode UTF-16 whose byte order writers don't agree on: by mark, else by where the zeros lie, else as TIFF's."""
    if value[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return value.decode("utf-16", "replace")
    even, odd = value[0::2].count(0), value[1::2].count(0)
    big = even > odd or (even == odd and order == ">")
    return value.decode("utf-16-be" if big else "utf-16-le", "replace")
