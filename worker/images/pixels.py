"""Decoding pictures with Pillow."""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageChops, ImageStat, features

from worker.images.formats.picture import BrokenPicture, Format, Picture

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def opened(data: bytes, kind: Format) -> Iterator[Image.Image]:
    """Yield the picture in a file of this format, its pixels not decoded yet.

    Raises:
        BrokenPicture: Pillow can't read it, or, within the block, not decode it.
    """
    Image.MAX_IMAGE_PIXELS = None  # the size is judged by whoever takes pictures in
    if kind == "avif" and not features.check("avif"):
        raise BrokenPicture("an AVIF, which this worker's Pillow can't read")
    try:
        with Image.open(BytesIO(data), formats=[kind.upper()]) as image:
            yield image
    except BrokenPicture:
        raise
    except Exception as error:  # noqa: BLE001 - damaged files make Pillow's decoders raise nearly everything
        why = "its data is damaged or of a kind that Pillow does not know" if "<_io." in str(error) else error
        raise BrokenPicture(f"a {kind.upper()} that can't be decoded: {why}") from None


def decoded(picture: Picture) -> Image.Image:
    """Return the pixels of `picture`.

    Raises:
        BrokenPicture: Pillow can't decode it.
    """
    with opened(picture.data, picture.format) as image:
        image.load()
        return image


def texts(picture: Picture) -> dict[str, str]:
    """Return the texts that a picture file carries, its infotext among them.

    Raises:
        BrokenPicture: Pillow can't read its notes.
    """
    with opened(picture.data, picture.format) as image:
        return {str(key): str(value) for key, value in image.info.items() if isinstance(value, str)}


def extremes(picture: Picture) -> tuple[int, int]:
    """Return the least and the greatest value of any colour channel, 0 to 255."""
    bands = decoded(picture).convert("RGB").getextrema()
    pairs = [pair for pair in bands if isinstance(pair, tuple)]
    return int(min(low for low, _ in pairs)), int(max(high for _, high in pairs))


def is_flat(picture: Picture) -> bool:
    """Return whether all pixels have the same colour."""
    return all(low == high for low, high in _ranges(decoded(picture).convert("RGB")))


def neighbours_alike(picture: Picture) -> tuple[float, float]:
    """Return the correlation of each pixel's brightness with that of the pixel to its right, and of the one below."""
    grey = decoded(picture).convert("L")
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
