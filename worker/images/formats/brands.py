"""Formats of picture files that people send and that are none of ours, by their first bytes."""

from __future__ import annotations

_STARTS: tuple[tuple[bytes, str], ...] = (
    (b"GIF87a", "a GIF"),
    (b"GIF89a", "a GIF"),
    (b"\x00\x00\x01\x00", "an icon (ICO)"),
    (b"\xff\x0a", "a JPEG XL (convert it to PNG or JPEG)"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "a JPEG XL (convert it to PNG or JPEG)"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "a JPEG 2000 (convert it to PNG or JPEG)"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 (convert it to PNG or JPEG)"),
    (b"%PDF", "a PDF (send a page of it as a picture)"),
    (b"8BPS", "a Photoshop file (PSD; export it as PNG)"),
    (b"gimp xcf", "a GIMP file (XCF; export it as PNG)"),
    (b"PK\x03\x04", "a ZIP archive (or a Krita, OpenRaster or Office file; export it as PNG)"),
    (b"\x76\x2f\x31\x01", "an OpenEXR"),
    (b"qoif", "a QOI"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
    (b"BM", "a BMP"),
    (b"\x1a\x45\xdf\xa3", "a video (WebM or Matroska; send one frame of it)"),
    (b"<svg", "a web page or SVG"),
    (b"<?xml", "a web page or SVG"),
    (b"<!doctype", "a web page or SVG"),
    (b"<html", "a web page or SVG"),
    (b"{", "a JSON text"),
)
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_VIDEO_BRANDS = frozenset({b"isom", b"iso2", b"mp41", b"mp42", b"avc1", b"qt  ", b"M4V "})
_LONGEST_FTYP = 256


def brands_of(data: bytes) -> frozenset[bytes]:
    """Return major and compatible brands of an ISO media file (AVIF, HEIC, MP4)."""
    if data[4:8] != b"ftyp":
        return frozenset()
    end = min(int.from_bytes(data[:4], "big"), _LONGEST_FTYP, len(data))
    return frozenset([data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))])


def foreign_format(data: bytes) -> str | None:
    """Return the name of a format that is none of ours, None where the first bytes tell nothing."""
    brands = brands_of(data)
    if brands & _HEIC_BRANDS:
        return "a HEIC (a phone's photo; convert it to JPEG)"
    if brands & _VIDEO_BRANDS:
        return "a video (MP4; send one frame of it)"
    head = data[:64]
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, name in _STARTS:
        if head.startswith(start) or (start[:1] in b"<{" and text.startswith(start)):
            return name
    return None
