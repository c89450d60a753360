"""AVIF: boxes of length and type (ISO 14496-12); the boxes have to fill the file, Pillow reads the rest."""

from __future__ import annotations

import struct
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

from worker.images.exif import user_comment
from worker.images.formats.found import Found, not_too_many
from worker.images.picture import BrokenPicture

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PIL import Image

_WIDE = 16
_EMPTY_TIFF = b"MM\0*\0\0\0\x08\0\0"


def read(data: bytes) -> Found:
    """Return what the file says about itself. Raises `BrokenPicture` where lengths don't add up."""
    kinds = _boxes(data)
    if not {b"meta", b"mdat"} <= kinds:
        raise BrokenPicture("an AVIF without pixels")
    with _opened(data) as image:
        exif: bytes | None = image.info.get("exif")
        width, height = image.size
        frames = getattr(image, "n_frames", 1) > 1
    return Found(width, height, user_comment(exif) if exif else None, exif, frames)


def without_notes(data: bytes) -> bytes:
    """Return the same picture with its EXIF and XMP blocks blanked in place: no offset moves."""
    with _opened(data) as image:
        exif, xmp = (image.info.get(name) or b"" for name in ("exif", "xmp"))
    for note, empty in ((exif.removeprefix(b"Exif\0\0"), _EMPTY_TIFF), (xmp, b"")):
        if len(note) >= len(empty) and note:
            data = data.replace(note, empty + b"\0" * (len(note) - len(empty)))
    return data


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    from PIL import Image, features  # noqa: PLC0415 - for this rare format only

    if not features.check("avif"):
        raise BrokenPicture("an AVIF, which this worker's Pillow can't read")
    try:
        image = Image.open(BytesIO(data), formats=["AVIF"])
    except Exception as error:  # noqa: BLE001 - damaged files make Pillow and libavif raise nearly everything
        raise BrokenPicture(f"an AVIF that can't be read: {error}") from None
    with image:
        yield image


def _boxes(data: bytes) -> set[bytes]:
    kinds: set[bytes] = set()
    at, total = 0, len(data)
    count = 0
    while at < total:
        count += 1
        not_too_many(count)
        if at + 8 > total:
            raise BrokenPicture(f"an AVIF cut at byte {total}")
        length, kind = struct.unpack_from(">I4s", data, at)
        if length == 1 and at + _WIDE <= total:
            length = struct.unpack_from(">Q", data, at + 8)[0]
        elif length == 0:
            length = total - at
        if length < 8 or at + length > total:  # noqa: PLR2004 - a box's own header
            raise BrokenPicture(f"an AVIF cut at byte {total}")
        kinds.add(kind)
        at += length
    return kinds
