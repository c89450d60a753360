"""Encoding beside the next generation: GPU busy share with each format, 1 s generations, the queue always full."""

from __future__ import annotations

import time
from io import BytesIO
from random import Random
from typing import TYPE_CHECKING, Any

from PIL import Image

from benchmarks.figures import Figure
from benchmarks.harness import GRAIN, JOB, run_jobs, share, worker

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 12
SIDE = 1024
PNG_LEVELS = (1, 3, 6, 9)
FORMATS: dict[str, dict[str, Any]] = {
    "png": {},
    "jpeg": {"format": "jpeg", "quality": 92},
    "webp": {"format": "webp", "quality": 90},
    "webp_lossless": {"format": "webp", "lossless": True},
}


def run(folder: Path) -> list[Figure]:
    """Measure; PNG is what the WebUI made, passed on untouched, and the reference of the others."""
    with worker(folder / "worker", environment={"STANDIN_GRAIN": GRAIN}) as running:
        shares = {}
        for name, output in FORMATS.items():
            run_jobs(running, [{**JOB, "output": output}] * JOBS, timeout=JOBS * 4.0)
            shares[name] = share(running.spans(last=JOBS))
    against = "the WebUI's PNG as it came"
    figures = [
        Figure(f"encoding.{name}", value, "share of GPU time", shares["png"], against) for name, value in shares.items()
    ]
    return [*figures, *_png_levels()]


def _png_levels() -> list[Figure]:
    """Return milliseconds and size of one encoding at each of Pillow's levels: the WebUI writes its PNGs at 6."""
    random = Random(1)
    soft = Image.frombytes("RGB", (128, 128), random.randbytes(128 * 128 * 3)).resize((SIDE, SIDE))
    image = Image.blend(soft, Image.frombytes("RGB", (SIDE, SIDE), random.randbytes(SIDE * SIDE * 3)), 0.03)
    taken: dict[int, tuple[float, float]] = {}
    for level in PNG_LEVELS:
        times = []
        for _ in range(3):
            out, began = BytesIO(), time.perf_counter()
            image.save(out, "PNG", compress_level=level)
            times.append((time.perf_counter() - began) * 1000)
        taken[level] = min(times), out.tell() / 1e6
    usual, against = taken[6], "level 6, the WebUI's"
    return [
        figure
        for level, (spent, size) in taken.items()
        for figure in (
            Figure(f"encoding.png_level_{level}", spent, "ms for 1024x1024", usual[0], against),
            Figure(f"encoding.png_level_{level}_size", size, "MB", usual[1], against),
        )
    ]
