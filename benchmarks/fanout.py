"""Batches of 1, 4 and 16 pictures to a store: time per picture, memory above idle, uploads beside each other."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import psutil

from benchmarks.figures import Figure
from benchmarks.harness import GRAIN, LIMIT, Running, run_jobs, store, worker

if TYPE_CHECKING:
    from pathlib import Path

UPLOAD_S = 0.2
COUNTS = (1, 4, 16)
LARGEST = COUNTS[-1]
SIDE = 768
EVERY_S = 0.002


def run(folder: Path) -> list[Figure]:
    """Measure."""
    figures = []
    large = {"STANDIN_STEP_SECONDS": "0", "STANDIN_GRAIN": GRAIN, "MAX_OUTPUT_BYTES": str(LIMIT)}
    with store(UPLOAD_S) as bucket, worker(folder / "worker", environment={**bucket, **large}) as running:
        _batch(running, 16, "s3")  # connections, threads and buffers as in a worker that has run for a while
        alone = _batch(running, 1, "s3")[1]["deliver"]
        for count in COUNTS:
            delivered = _batch(running, count, "s3")[1]
            figures.append(
                Figure(
                    f"fanout.upload_{count}",
                    delivered["deliver"] / count,
                    "ms per picture",
                    alone,
                    "pictures uploaded one after the other",
                )
            )
        for count in COUNTS:
            peak, phases, size = _batch(running, count, "base64")
            own = phases["check"] + phases["deliver"]
            figures.append(Figure(f"fanout.own_{count}", own / count, "ms per picture"))
            figures.append(
                Figure(
                    f"fanout.memory_{count}",
                    peak / 1e6,
                    "MB above idle",
                    size / 1e6,
                    "the answer's bytes",
                    "ratio <= 3.00" if count == LARGEST else "",
                )
            )
    return figures


def _batch(running: Running, count: int, delivery: str) -> tuple[int, dict[str, float], int]:
    """Run one job; return the bytes of memory at its peak above idle, its phases, and the bytes of its answer."""
    process = psutil.Process(running.process.pid)
    idle = process.memory_info().rss
    peak, done = idle, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(EVERY_S):
            peak = max(peak, process.memory_info().rss)

    watching = threading.Thread(target=watch)
    watching.start()
    job = {"prompt": "a lighthouse", "steps": 1, "width": SIDE, "height": SIDE, "seed": 7, "batch_size": count}
    try:
        answer = run_jobs(running, [{**job, "output": {"delivery": delivery}}], timeout=120)[0]
    finally:
        done.set()
        watching.join()
    time.sleep(0.3)
    return peak - idle, answer["phase_ms"], sum(len(image) for image in answer["images"])
