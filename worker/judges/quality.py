"""The judge of plain image quality: finds blank, noisy, dark, blurred and badly exposed pictures. No model.

It judges neither beauty nor content: hands, wrong subjects, taste. Meant for photographic pictures: flat
drawings get low scores.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from worker.judges.judge import JudgeVerdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SIDE = 512
"""Longest side at which all figures but those of the histogram are taken, pixels."""
DEFAULT_LEAST = 0.4
_BLOCK = 64
_DARK, _BRIGHT = 3, 252
_BLANK_RANGE = 8
_NOISE_CORRELATION = 0.2
_FLOOR = 0.001
_LEAST_SIDE = 3
"""Pixels that the filters need each way."""


@dataclass(frozen=True, slots=True)
class QualityFigures:
    """Figures of a picture's grey values, 0 to 255.

    Attributes:
        sharpness: 90th percentile of the variance of the Laplacian in blocks of 64 pixels.
        clipping: Share of the pixels that are black or white, the larger of the two.
        brightness: Mean.
        contrast: Range from the 1st to the 99th percentile.
        entropy: Of the histogram, bits.
        noise: Standard deviation of the noise (Immerkaer, 1996).
        correlation: Of neighbouring pixels; near 0 in pure noise.
    """

    sharpness: float
    clipping: float
    brightness: float
    contrast: float
    entropy: float
    noise: float
    correlation: float

    def to_json(self) -> dict[str, float]:
        """Return the figures, rounded."""
        return {name: round(value, 3) for name, value in asdict(self).items()}


def measure_quality(image: Image.Image) -> QualityFigures:
    """Return the figures of an RGB picture."""
    grey = image.convert("L")
    counts = np.array(grey.histogram(), dtype=np.float64)
    shares = counts / counts.sum()
    rising = np.cumsum(shares)
    low, high = (int(np.searchsorted(rising, share)) for share in (0.01, 0.99))
    some = shares[shares > 0]
    small = np.asarray(_reduced(grey), dtype=np.float64)
    return QualityFigures(
        sharpness=_sharpness(small),
        clipping=float(max(shares[:_DARK].sum(), shares[_BRIGHT + 1 :].sum())),
        brightness=float((shares * np.arange(256)).sum()),
        contrast=float(high - low),
        entropy=float(-(some * np.log2(some)).sum()) + 0.0,
        noise=_noise(small),
        correlation=_correlation(small),
    )


def score_quality(figures: QualityFigures) -> tuple[float, str | None]:
    """Return the score, 0 to 1, and the reason where a picture is no picture at all."""
    if figures.contrast <= _BLANK_RANGE:
        return 0.0, "blank"
    if figures.correlation < _NOISE_CORRELATION:
        return 0.0, "noise"
    brightness = min(ramp(figures.brightness, 15, 60), ramp(figures.brightness, 245, 200))
    parts = (
        (0.35, ramp(math.log10(figures.sharpness + 1), 1.0, 2.7)),
        (0.15, ramp(figures.clipping, 0.60, 0.10)),
        (0.15, brightness),
        (0.15, ramp(figures.contrast, 30, 140)),
        (0.10, ramp(figures.entropy, 3, 6)),
        (0.10, ramp(figures.noise, 40, 12)),
    )
    return _weighted_mean(parts) * ramp(figures.correlation, _NOISE_CORRELATION, 0.6), None


def ramp(value: float, worst: float, best: float) -> float:
    """Return how far `value` is on the way from `worst` to `best`, 0 to 1."""
    return min(1.0, max(0.0, (value - worst) / (best - worst)))


class QualityJudge:
    """Judge that rejects broken pictures.

    Args:
        least: Score from which a picture is accepted, 0 to 1.
    """

    name = "quality"
    model = "plain/1"

    def __init__(self, least: float = DEFAULT_LEAST) -> None:
        self._least = least

    def look(self, image: Image.Image) -> JudgeVerdict:
        """Return the score; every figure stands in the details."""
        figures = measure_quality(image)
        score, broken = score_quality(figures)
        details = {"score": round(score, 4), **figures.to_json()}
        if broken is not None:
            return JudgeVerdict(accepted=False, score=score, details=details, why=broken)
        if score >= self._least:
            return JudgeVerdict(accepted=True, score=score, details=details)
        why = f"quality {score:.2f}, at least {self._least:g} is asked for"
        return JudgeVerdict(accepted=False, score=score, details=details, why=why)


def _weighted_mean(parts: Sequence[tuple[float, float]]) -> float:
    return math.exp(sum(weight * math.log(max(value, _FLOOR)) for weight, value in parts))


def _reduced(grey: Image.Image) -> Image.Image:
    scale = SIDE / max(grey.size)
    wanted = grey.size if scale >= 1 else (round(grey.width * scale), round(grey.height * scale))
    size = (max(_LEAST_SIDE, wanted[0]), max(_LEAST_SIDE, wanted[1]))
    return grey if size == grey.size else grey.resize(size, Image.Resampling.BOX)


def _sharpness(grey: NDArray[np.float64]) -> float:
    inner = grey[1:-1, 1:-1]
    edges = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    high, wide = edges.shape
    variances = [
        edges[top : top + _BLOCK, left : left + _BLOCK].var()
        for top in _block_starts(high)
        for left in _block_starts(wide)
    ]
    return float(np.percentile(variances, 90))


def _block_starts(length: int) -> range:
    """Return where whole blocks begin; one that is not whole counts only where there is no other."""
    return range(0, max(1, length - _BLOCK + 1), _BLOCK)


def _noise(grey: NDArray[np.float64]) -> float:
    rows = grey[:-2] - 2 * grey[1:-1] + grey[2:]
    both = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.abs(both).mean() * math.sqrt(math.pi / 2) / 6)


def _correlation(grey: NDArray[np.float64]) -> float:
    """Return the lower of the correlations of each pixel with the next one across and down; 1 without any contrast."""

    def between(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        spread = one.std() * other.std()
        shared: Any = ((one - one.mean()) * (other - other.mean())).mean()
        return float(shared / spread) if spread > 0 else 1.0

    return min(between(grey[:, :-1], grey[:, 1:]), between(grey[:-1], grey[1:]))
