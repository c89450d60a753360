"""Perceptual hash: 64 bits that change little when a picture is scaled, compressed or brightened."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIDE = 32
_KEPT = 8


def perceptual_hash(image: Image.Image) -> int:
    """Return the signs of the lowest 8x8 frequencies of a picture about their median, the lowest in the highest bit."""
    grey = image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    cosines = _cosines()
    low = cosines @ np.asarray(grey, dtype=np.float64) @ cosines.T
    return int("".join("1" if value else "0" for value in (low > np.median(low)).reshape(-1)), 2)


@cache
def _cosines() -> NDArray[np.float64]:
    """Return the first rows of the discrete cosine transform of type II."""
    frequency, place = np.arange(_KEPT)[:, np.newaxis], np.arange(_SIDE)[np.newaxis]
    matrix: NDArray[np.float64] = np.cos(np.pi * frequency * (2 * place + 1) / (2 * _SIDE))
    return matrix
