"""EXIF's UserComment, where A1111 keeps the infotext of JPEG, WebP and AVIF."""

from __future__ import annotations

from PIL import ExifTags, Image

UNICODE = b"UNICODE\0"
ASCII = b"ASCII\0\0\0"
_UNDEFINED = bytes(8)
_CODE_LENGTH = 8


def user_comment(block: bytes) -> str | None:
    """Return the text of UserComment in an EXIF block (with or without the `Exif` prefix), None when there is none."""
    exif = Image.Exif()
    try:
        exif.load(block)
        value = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    except Exception:  # noqa: BLE001 - a damaged block makes Pillow raise nearly everything; it says nothing then
        return None
    return _text(value, exif.endian or ">") if isinstance(value, bytes) else None


def with_comment(text: str, *, limit: int | None = None) -> bytes | None:
    """Return an EXIF block (`Exif` prefix included) that holds `text` alone, as A1111 writes it.

    UTF-16; plain ASCII where that is shorter than `limit` bytes and UTF-16 is not; None where nothing fits.
    """
    values = [UNICODE + text.encode("utf-16-be", "replace")]
    if text.isascii():
        values.append(ASCII + text.encode("ascii"))
    for value in values:
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = value
        block = exif.tobytes()
        if limit is None or len(block) <= limit:
            return block
    return None


def _text(raw: bytes, endian: str) -> str | None:
    code, value = raw[:_CODE_LENGTH], raw[_CODE_LENGTH:]
    if code == UNICODE:
        return _utf16(value, endian).rstrip("\0") or None
    if code in (ASCII, _UNDEFINED):
        return value.decode("utf-8", "replace").rstrip("\0") or None
    return None


def _utf16(value: bytes, endian: str) -> str:
    """Decode UTF-16 whose byte order writers don't agree on: by mark, else by where the zeros lie, else as TIFF's."""
    if value[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return value.decode("utf-16", "replace")
    even, odd = value[0::2].count(0), value[1::2].count(0)
    big = even > odd or (even == odd and endian == ">")
    return value.decode("utf-16-be" if big else "utf-16-le", "replace")
