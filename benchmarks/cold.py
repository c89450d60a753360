"""Cold start: until the WebUI is spawned, and from its model to the first job.

The reference of the spawn is the usual order: runpod and boto3 are imported first, and the WebUI waits for them.
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.harness import ROOT, percentile
from tests.support import webui_dir
from tests.support.jobsource import JobSource
from tests.support.workerproc import WorkerProcess

if TYPE_CHECKING:
    from pathlib import Path

STARTS = 5
LOAD_S = "4"
"""Longer than the worker's own imports."""


def run(folder: Path) -> list[Figure]:
    """Measure."""
    spawns, takes = [], []
    for number in range(STARTS):
        spawn, take = _start(folder / str(number))
        spawns.append(spawn)
        takes.append(take)
    usual = min(_import_first() for _ in range(2))
    return [
        Figure("cold.spawn", percentile(spawns, 0.5), "s", usual, "importing runpod and boto3 first", "<= 0.50"),
        Figure("cold.first_job_after_model", percentile(takes, 0.5), "s", target="<= 0.15"),
    ]


def _start(folder: Path) -> tuple[float, float]:
    """Return the seconds from process start to the WebUI's spawn, and from its model to the first take."""
    folder.mkdir()
    with JobSource() as source:
        more = {**source.worker_env(), "STANDIN_LOAD_SECONDS": LOAD_S, "LOG_FORMAT": "json"}
        with WorkerProcess([str(ROOT / "handler.py")], webui_dir.environment(folder, more), folder) as process:
            spawned = process.wait_line(r'"event":"spawned"')
            loaded = process.wait_line(r"Model loaded\.")
            taken = source.wait_event("take", timeout=60).at
            process.terminate()
            process.wait(30)
            return spawned - process.started_at, taken - loaded


def _import_first() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import runpod, boto3"], check=True, capture_output=True)
    return time.monotonic() - began
