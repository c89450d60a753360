"""Jobs that alternate between two checkpoints: in order of arrival, and with those of the loaded one going first.

A change of checkpoint takes the stand-in 0.6 s, about what a small one takes from the page cache; a generation 0.3 s.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.harness import JOB, run_jobs, worker

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 24
CONCURRENCY = "6"
MODELS = ("Deliberate_v6", "Other_v1")
TIMES = {"STANDIN_LOAD_SECONDS": "0.6", "STANDIN_STEP_SECONDS": "0.03", "CONCURRENCY": CONCURRENCY}


def run(folder: Path) -> list[Figure]:
    """Measure."""
    plain = _seconds(folder / "plain", "0")
    grouped = _seconds(folder / "grouped", "30")
    one = _seconds(folder / "one", "0", models=MODELS[:1])
    return [
        Figure(
            "alternation.grouped",
            grouped / JOBS,
            "s per job",
            plain / JOBS,
            "the order of arrival (GROUP_WAIT_S=0)",
        ),
        Figure("alternation.worst_case", grouped / JOBS, "s per job", one / JOBS, "all jobs on one checkpoint"),
    ]


def _seconds(folder: Path, wait: str, models: tuple[str, ...] = MODELS) -> float:
    with worker(folder, environment={**TIMES, "GROUP_WAIT_S": wait}) as running:
        small = {**JOB, "steps": 10, "width": 256, "height": 256}
        jobs = [{**small, "seed": number, "checkpoint": models[number % len(models)]} for number in range(JOBS)]
        began = time.monotonic()
        run_jobs(running, jobs, timeout=180)
        return time.monotonic() - began
