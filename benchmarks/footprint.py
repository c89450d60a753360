"""What the worker takes while nobody asks for anything: memory, and its environment's size on disk."""

from __future__ import annotations

import importlib.metadata
import re
import time
from typing import TYPE_CHECKING

import psutil

from benchmarks.figures import Figure
from benchmarks.harness import ROOT, run_jobs, worker

if TYPE_CHECKING:
    from pathlib import Path

SETTLE_S = 3.0
JOBS = 20
SKIPPED = ("__pycache__",)


def run(folder: Path) -> list[Figure]:
    """Measure."""
    with worker(folder / "worker", environment={"STANDIN_STEP_SECONDS": "0"}) as running:
        process = psutil.Process(running.process.pid)
        time.sleep(SETTLE_S)
        idle = process.memory_info().rss
        job = {"prompt": "a lighthouse", "steps": 1, "width": 512, "height": 512}
        run_jobs(running, [job] * JOBS, timeout=60)
        time.sleep(SETTLE_S)
        later = process.memory_info().rss
    sizes = sizes_on_disk()
    figures = [
        Figure("footprint.memory_idle", idle / 1e6, "MB", target="<= 120"),
        Figure("footprint.memory_after_jobs", later / 1e6, "MB", idle / 1e6, "before the first job"),
        Figure("footprint.environment", sum(sizes.values()) / 1e6, "MB on disk", target="<= 120"),
    ]
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    return figures + [Figure(f"footprint.package.{name}", size / 1e6, "MB on disk") for name, size in largest]


def sizes_on_disk() -> dict[str, int]:
    """Return the bytes of each package that the worker's lock names, caches of compiled code left out."""
    lock = (ROOT / "requirements" / "worker.lock").read_text(encoding="utf-8")
    names = {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"^([A-Za-z0-9_.-]+)==", lock, re.MULTILINE)}
    sizes: dict[str, int] = {}
    for distribution in importlib.metadata.distributions():
        name = re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        if name in names:
            files = [file for file in distribution.files or () if not set(SKIPPED) & set(file.parts)]
            sizes[name] = sum(path.stat().st_size for file in files if (path := file.locate()).is_file())  # type: ignore[attr-defined]  # a real path: the package is installed
    return sizes
