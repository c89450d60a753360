"""Small stand-ins for a picture while it loads: a thumbnail, and a blurhash (https://blurha.sh) of 20 to 30 letters."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from operator import mul
from typing import TYPE_CHECKING

from PIL import Image

from worker.images.convert import encode, on_white
from worker.images.pixels import opened

if TYPE_CHECKING:
    from worker.images.picture import Picture

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_QUALITY = 80
_SAMPLE = 32
_LEVELS = 9
_LARGEST_AC = 82

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Preview:
    """Of one picture; None for what was not asked for."""

    thumbnail: Picture | None
    blurhash: str | None


def preview(picture: Picture, *, side: int | None, blurhash: bool) -> Preview:
    """Return the stand-ins of `picture`, which is decoded once.

    Args:
        picture: Finished.
        side: Longest side of the thumbnail in pixels, a JPEG without notes; None: no thumbnail.
        blurhash: Whether to make one.

    Raises:
        BrokenPicture: it can't be decoded.
    """
    if side is None and not blurhash:
        return Preview(None, None)
    with opened(picture) as image:
        plain = on_white(image)
    return Preview(None if side is None else _small(plain, side), hashed(plain) if blurhash else None)


def thumbnail(picture: Picture, side: int) -> Picture:
    """Return `picture` as a JPEG of at most `side` pixels a side; raises BrokenPicture where it can't be decoded."""
    with opened(picture) as image:
        return _small(on_white(image), side)


def _small(plain: Image.Image, side: int) -> Picture:
    small = plain.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return encode(small, "jpeg", quality=_QUALITY)


def hashed(image: Image.Image, across: int = 4, down: int = 3) -> str:
    """Return the blurhash of `image` with `across` x `down` components, 1 to 9 each."""
    sample = image.convert("RGB").resize((_SAMPLE, _SAMPLE), Image.Resampling.BOX)
    linear = [_linear(byte) for byte in range(256)]
    raw = [linear[byte] for byte in sample.tobytes()]
    across_sums = [[_row_sum(raw, row, _wave(x)) for row in range(_SAMPLE)] for x in range(across)]
    parts = [_component(across_sums[x], _wave(y), constant=x == y == 0) for y in range(down) for x in range(across)]
    largest = max((abs(value) for part in parts[1:] for value in part), default=0.0)
    scale = max(0, min(_LARGEST_AC, int(largest * 166 - 0.5))) if parts[1:] else 0
    step = (scale + 1) / 166
    letters = [_base83((across - 1) + (down - 1) * _LEVELS, 1), _base83(scale, 1)]
    red, green, blue = (_srgb(value) for value in parts[0])
    letters.append(_base83((red << 16) + (green << 8) + blue, 4))
    for part in parts[1:]:
        digits = [_quantised(value / step) for value in part]
        letters.append(_base83((digits[0] * 19 + digits[1]) * 19 + digits[2], 2))
    return "".join(letters)


def _wave(frequency: int) -> list[float]:
    return [cos(pi * frequency * at / _SAMPLE) for at in range(_SAMPLE)]


def _row_sum(raw: list[float], row: int, wave: list[float]) -> Colour:
    """Return the sum of one row's pixels times `wave`, for each channel."""
    start, end = row * _SAMPLE * 3, (row + 1) * _SAMPLE * 3
    red, green, blue = (sum(map(mul, raw[start + channel : end : 3], wave)) for channel in range(3))
    return red, green, blue


def _component(sums: list[Colour], wave: list[float], *, constant: bool) -> Colour:
    """Return the mean of the picture times a wave each way, doubled but for the constant one."""
    norm = (1 if constant else 2) / (_SAMPLE * _SAMPLE)
    red, green, blue = (sum(map(mul, (one[channel] for one in sums), wave)) * norm for channel in range(3))
    return red, green, blue


def _quantised(value: float) -> int:
    root = abs(value) ** 0.5
    signed = root if value >= 0 else -root
    return max(0, min(18, int(signed * _LEVELS + 9.5)))


def _linear(byte: int) -> float:
    value = byte / 255
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)  # noqa: PLR2004 - sRGB's curve


def _srgb(value: float) -> int:
    inside = max(0.0, min(1.0, value))
    curved = inside * 12.92 if inside <= 0.0031308 else 1.055 * inside ** (1 / 2.4) - 0.055  # noqa: PLR2004 - as above
    return int(curved * 255 + 0.5)


def _base83(value: int, length: int) -> str:
    letters = ""
    for _ in range(length):
        value, digit = divmod(value, 83)
        letters = _DIGITS[digit] + letters
    return letters
