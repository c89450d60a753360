"""Pictures in and out of base64, as the WebUI's API does it."""

from __future__ import annotations

import base64
import binascii
import io
import ipaddress
import socket
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING

from PIL import ExifTags, Image, PngImagePlugin

from standin.errors import http_error

if TYPE_CHECKING:
    from standin.options import Options

USER_COMMENT = 0x9286
FETCH_SECONDS = 30


def decode(text: str, options: Options) -> Image.Image:
    """A picture from base64, a data URL, or (if allowed) an http address; raises 500 "Invalid encoded image".

    The pixels are not read yet, so a truncated file is noticed later, as an OSError.
    """
    if text.startswith(("http://", "https://")):
        return _fetch(text, options)
    if text.startswith("data:image/"):
        text = text.split(";")[1].split(",")[1]
    try:
        return Image.open(io.BytesIO(base64.b64decode(text)))
    except (OSError, ValueError, binascii.Error, Image.DecompressionBombError):
        raise http_error(500, "Invalid encoded image") from None


def encode(picture: Image.Image, options: Options) -> str:
    """Base64 of the picture in the format that `samples_format` names, with its infotext inside."""
    kind = str(options.get("samples_format")).lower()
    buffer = io.BytesIO()
    if kind == "png":
        info = PngImagePlugin.PngInfo()
        for key, value in picture.info.items():
            if isinstance(key, str) and isinstance(value, str):
                info.add_text(key, value)
        picture.save(buffer, "PNG", pnginfo=info)
    elif kind in ("jpg", "jpeg", "webp"):
        flat = picture.convert("RGB") if picture.mode in ("RGBA", "P") else picture
        quality = int(float(options.get("jpeg_quality")))
        flat.save(
            buffer,
            "WEBP" if kind == "webp" else "JPEG",
            exif=_exif(picture.info.get("parameters") or ""),
            quality=quality,
        )
    else:
        raise http_error(500, "Invalid image format")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def read_infotext(picture: Image.Image) -> tuple[str, dict[str, str]]:
    """The infotext of a picture in any of the formats, and its other text fields."""
    items = {key: value for key, value in picture.info.items() if isinstance(key, str) and isinstance(value, str)}
    text = items.pop("parameters", "")
    if "exif" in picture.info:
        comment = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(USER_COMMENT, b"")
        if isinstance(comment, bytes) and comment.startswith(b"UNICODE\0"):
            text = comment[8:].decode("utf-16-be", errors="ignore")
    for key in (
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
        "dpi",
        "exif",
        "loop",
        "background",
        "timestamp",
        "duration",
    ):
        items.pop(key, None)
    return text, items


def _exif(text: str) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif.tobytes()


def _fetch(url: str, options: Options) -> Image.Image:
    if not options.get("api_enable_requests"):
        raise http_error(500, "Requests not allowed")
    if options.get("api_forbid_local_requests") and not _is_public(url):
        raise http_error(500, "Request to local resource not allowed")
    try:
        with urllib.request.urlopen(url, timeout=FETCH_SECONDS) as answer:  # noqa: S310 # only http and https get here
            return Image.open(io.BytesIO(answer.read()))
    except (OSError, ValueError):
        raise http_error(500, "Invalid image url") from None


def _is_public(url: str) -> bool:
    try:
        addresses = socket.gethostbyname_ex(urllib.parse.urlparse(url).netloc)[2]
        return all(ipaddress.ip_address(address).is_global for address in addresses)
    except (OSError, ValueError):
        return False
