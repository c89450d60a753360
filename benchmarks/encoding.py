"""Encoding beside the next generation: GPU busy share with each format, 1 s generations, the queue always full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.figures import Figure
from benchmarks.harness import GRAIN, JOB, run_jobs, share, worker

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 20
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
    return [
        Figure(f"encoding.{name}", value, "share of GPU time", shares["png"], against, ">= 0.98")
        for name, value in shares.items()
    ]
