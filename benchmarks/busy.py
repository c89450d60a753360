"""GPU busy share through RunPod's real SDK: 1 s of generation, 0.5 s of upload, the queue always full.

The reference loops in `loops/` are what workers usually do: a synchronous handler, and an asynchronous one that gets
one job at a time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.harness import JOB, run_jobs, share, store, worker

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

JOBS = 60
REFERENCE_JOBS = 16
"""A share does not depend on the number of jobs, only its noise does; the slow loops would take minutes for more."""
UPLOAD_S = 0.5


def run(folder: Path) -> list[Figure]:
    """Measure."""
    with store(UPLOAD_S) as bucket:
        ours = _share(folder / "ours", bucket, JOBS)
        loops: dict[str, tuple[str, Mapping[str, str]]] = {
            "synchronous": ("benchmarks/loops/synchronous.py", {}),
            "asynchronous": ("benchmarks/loops/asynchronous.py", {}),
            "one": ("handler.py", {"CONCURRENCY": "1"}),
        }
        with ThreadPoolExecutor(len(loops)) as pool:  # they mostly sleep; each has a WebUI of its own
            running = {
                name: pool.submit(_share, folder / name, {**bucket, **more}, REFERENCE_JOBS, program)
                for name, (program, more) in loops.items()
            }
            shares = {name: one.result() for name, one in running.items()}
    return [
        Figure(
            "busy.against_synchronous",
            ours,
            "share of GPU time",
            shares["synchronous"],
            "a synchronous handler",
            ">= 0.99",
        ),
        Figure(
            "busy.against_asynchronous",
            ours,
            "share of GPU time",
            shares["asynchronous"],
            "an async handler, one job at a time",
            ">= 0.99",
        ),
        Figure(
            "busy.concurrency_1",
            shares["one"],
            "share of GPU time",
            shares["asynchronous"],
            "an async handler, one job at a time",
        ),
    ]


def _share(folder: Path, bucket: Mapping[str, str], jobs: int, program: str = "handler.py") -> float:
    with worker(folder, program=(program,), environment=bucket) as running:
        run_jobs(running, [{**JOB, "output": {"delivery": "s3"}}] * jobs, timeout=jobs * 4.0 + 60)
        return share(running.spans(last=jobs))
