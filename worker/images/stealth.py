"""Notes hidden in the lowest bits of a picture's alpha channel, as NovelAI and an extension of the WebUI write them."""

from __future__ import annotations

import zlib

from PIL import Image

_PLAIN, _PACKED = b"stealth_pnginfo", b"stealth_pngcomp"
_LENGTH_BITS = 32
_LONGEST = 4 * 1024 * 1024


def hidden_text(image: Image.Image) -> str | None:
    """Return the text in the alpha channel's lowest bits, column by column; None where there is none."""
    if image.mode != "RGBA":
        return None
    alpha = image.getchannel("A").transpose(Image.Transpose.TRANSPOSE)
    signature = len(_PLAIN) * 8
    head = _bits(alpha, 0, signature + _LENGTH_BITS)
    if len(head) < len(_PLAIN) + _LENGTH_BITS // 8 or head[: len(_PLAIN)] not in {_PLAIN, _PACKED}:
        return None
    length = int.from_bytes(head[len(_PLAIN) :], "big")
    if not 0 < length <= min(_LONGEST * 8, image.width * image.height):
        return None
    body = _bits(alpha, signature + _LENGTH_BITS, length)
    try:
        if head.startswith(_PACKED):
            unpacked = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
            body = unpacked.decompress(body, _LONGEST)
        return body.decode()
    except (zlib.error, UnicodeDecodeError):
        return None


def _bits(alpha: Image.Image, start: int, count: int) -> bytes:
    """Return `count` of the lowest bits from the one at `start` on, eight to a byte; fewer where they end."""
    width = alpha.width
    first, last = start // width, min(alpha.height, -(-(start + count) // width))
    rows = alpha.crop((0, first, width, last)).tobytes()
    begin = start - first * width
    signs = rows[begin : begin + count].translate(_LOWEST)
    return int(signs or b"0", 2).to_bytes(len(signs) // 8 or 1, "big") if len(signs) % 8 == 0 else b""


_LOWEST = bytes(ord("1") if value & 1 else ord("0") for value in range(256))
