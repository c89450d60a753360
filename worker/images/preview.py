"""Small stand-ins for a picture while it loads: a thumbnail, and a blurhash (https://blurha.sh) of 20 to 30 letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import blurhash
from PIL import Image

from worker.images.convert import encode, on_white
from worker.images.pixels import decoded

if TYPE_CHECKING:
    from worker.images.formats.picture import Picture

_QUALITY = 80
_SAMPLE = 32


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
    plain = on_white(decoded(picture))
    return Preview(None if side is None else _small(plain, side), hashed(plain) if blurhash else None)


def thumbnail(picture: Picture, side: int) -> Picture:
    """Return `picture` as a JPEG of at most `side` pixels a side; raises BrokenPicture where it can't be decoded."""
    return _small(on_white(decoded(picture)), side)


def _small(plain: Image.Image, side: int) -> Picture:
    small = plain.copy()
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return encode(small, "jpeg", quality=_QUALITY)


def hashed(image: Image.Image, across: int = 4, down: int = 3) -> str:
    """Return the blurhash of `image` with `across` x `down` components, 1 to 9 each."""
    sample = image.convert("RGB").resize((_SAMPLE, _SAMPLE), Image.Resampling.BOX)
    values = sample.tobytes()
    width = 3 * _SAMPLE
    rows = [[values[at + x : at + x + 3] for x in range(0, width, 3)] for at in range(0, len(values), width)]
    return str(blurhash.encode(rows, components_x=across, components_y=down))
