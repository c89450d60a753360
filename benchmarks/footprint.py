"""Memory of an idle worker, and the size of its environment on disk."""

from __future__ import annotations

import compileall
import time
from typing import TYPE_CHECKING

import psutil

from benchmarks.figures import Figure
from benchmarks.harness import run_jobs, worker
from tests.support.documents.locked_environment import make_environment

if TYPE_CHECKING:
    from pathlib import Path

SETTLE_S = 3.0
JOBS = 20


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
    packages = sizes(make_environment(folder / "packages"))
    figures = [
        Figure("footprint.memory_idle", idle / 1e6, "MB", target="<= 120"),
        Figure("footprint.memory_after_jobs", later / 1e6, "MB", idle / 1e6, "before the first job"),
        Figure("footprint.environment", sum(packages.values()) / 1e6, "MB on disk"),
    ]
    largest = sorted(packages.items(), key=lambda item: -item[1])[:8]
    return figures + [Figure(f"footprint.package.{name}", size / 1e6, "MB on disk") for name, size in largest]


def sizes(packages: Path) -> dict[str, int]:
    """Return the bytes of everything in a folder of packages by its first name, compiled code included."""
    compileall.compile_dir(packages, quiet=2, workers=2)  # as the image has it; what is compiled already stays
    found: dict[str, int] = {}
    for entry in packages.iterdir():
        name = entry.name.partition("-")[0].partition(".")[0].lower()
        files = [entry] if entry.is_file() else [path for path in entry.rglob("*") if path.is_file()]
        found[name] = found.get(name, 0) + sum(path.stat().st_size for path in files)
    return found
