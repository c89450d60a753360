"""Pixels of a picture, through Pillow; imported only where pixels are needed."""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageStat

from worker.images.picture import BrokenPicture, Picture

if TYPE_CHECKING:
    from collections.abc import Iterator

_PILLOW = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "avif": "AVIF"}


def texts(picture: Picture) -> dict[str, str]:
    """Return the texts that a picture file carries, its infotext among them; no pixel is decoded.

    Raises:
        BrokenPicture: Pillow can't read its notes.
    """
    with _opened(picture, pixels=False) as image:
        return {str(key): str(value) for key, value in image.info.items() if isinstance(value, str)}


@contextmanager
def opened(picture: Picture) -> Iterator[Image.Image]:
    """Yield the picture with all its pixels decoded.

    Raises:
        BrokenPicture: Pillow can't decode it.
    """
    with _opened(picture, pixels=True) as image:
        yield image


@contextmanager
def _opened(picture: Picture, *, pixels: bool) -> Iterator[Image.Image]:
    Image.MAX_IMAGE_PIXELS = None  # the header's size is known here, and whoever takes pictures in has judged it
    try:
        image = Image.open(BytesIO(picture.data), formats=[_PILLOW[picture.format]])
        if pixels:
            image.load()
    except Exception as error:  # noqa: BLE001 - damaged files make Pillow's decoders raise nearly everything
        raise BrokenPicture(f"a {picture.format.upper()} that can't be decoded: {error}") from None
    with image:
        yield image


def extremes(picture: Picture) -> tuple[int, int]:
    """Return the least and the greatest value of any colour channel, 0 to 255."""
    with opened(picture) as image:
        bands = [image.convert("RGB").getextrema()]
        pairs = [pair for band in bands for pair in band if isinstance(pair, tuple)]
    return int(min(low for low, _ in pairs)), int(max(high for _, high in pairs))


def is_flat(picture: Picture) -> bool:
    """Return whether all pixels have the same colour."""
    with opened(picture) as image:
        return all(low == high for low, high in _ranges(image.convert("RGB")))


def neighbours_alike(picture: Picture) -> tuple[float, float]:
    """Return the correlation of each pixel's brightness with that of the pixel to its right, and of the one below."""
    with opened(picture) as image:
        grey = image.convert("L")
        width, height = grey.size
        spread = ImageStat.Stat(grey).var[0]
        if spread == 0:
            return 1.0, 1.0
        first, right = grey.crop((0, 0, width - 1, height)), grey.crop((1, 0, width, height))
        upper, below = grey.crop((0, 0, width, height - 1)), grey.crop((0, 1, width, height))
    return _correlation(first, right, spread), _correlation(upper, below, spread)


def _correlation(one: Image.Image, other: Image.Image, spread: float) -> float:
    return 1.0 - ImageStat.Stat(ImageChops.difference(one, other)).rms[0] ** 2 / (2 * spread)


def _ranges(image: Image.Image) -> list[tuple[int, int]]:
    return [band.getextrema() for band in image.split()]  # type: ignore[misc]  # pairs of bytes for an 8-bit band
