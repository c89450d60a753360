"""Checkpoints on slow storage: until the first is loaded, and alternating between two, with and without reading ahead.

The storage gives 200 MB/s (a limit of the kernel's on what the worker and its WebUI read from the disk), and nothing of
a checkpoint is in memory before. The WebUI is the stand-in with two things of A1111's: it imports for some seconds
before it loads anything, and it reads a checkpoint whole when it loads it (`--disable-mmap-load-safetensors`, as the
worker sets it on network volumes). Needs root for the limit; left out otherwise.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.fetch import write_model
from benchmarks.figures import Figure
from benchmarks.harness import JOB, ROOT, STEP_S, Running, run_jobs
from benchmarks.throttle import forget, possible, slow_reads
from tests.support import webui_dir
from tests.support.jobsource import JobSource
from tests.support.workerproc import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SPEED = 200_000_000
LARGE, SMALL = 2_000_000_000, 300_000_000
IMPORT_S = 8.0
"""A1111 v1.10.1 imports torch and its own modules for 7 to 20 s before it opens a checkpoint."""
JOBS = 8
NAMES = ("Deliberate_v6", "Other_v1")
WEBUI = f"""import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
time.sleep(float(os.environ["IMPORT_S"]))
import standin.models.loaded_model as model
load = model.load_weights

def whole(checkpoint):
    with open(checkpoint.path, "rb", buffering=0) as file:
        buffer = bytearray(8 << 20)
        while file.readinto(buffer):
            pass
        if os.environ.get("FORGET"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return load(checkpoint)

model.load_weights = whole
sys.argv[0] = "standin"
import runpy
runpy.run_module("standin", run_name="__main__", alter_sys=True)
"""


def run(folder: Path) -> list[Figure]:
    """Measure."""
    if not possible():
        print("readahead: left out; limiting what is read takes root and cgroups", file=sys.stderr)
        return []
    large, small = _models(folder / "large", NAMES[:1], LARGE), _models(folder / "small", NAMES, SMALL)
    with slow_reads(folder, SPEED):
        plain, ahead = (_until_loaded(folder / f"boot-{word}", large, word) for word in ("false", "true"))
        bare = _alternating(folder / "bare", small, "false", "0")
        eager = _alternating(folder / "eager", small, "true", "30")
    neither = "in order of arrival, MODEL_READAHEAD=false"
    return [
        Figure("readahead.loaded", ahead, "s until loaded", plain, "MODEL_READAHEAD=false", "ratio <= 0.77"),
        Figure("readahead.alternating", eager, "s per job, grouped", bare, neither),
    ]


def _models(root: Path, names: Sequence[str], size: int) -> Path:
    """Write checkpoints of `size` bytes and return the root of the model folders."""
    (root / "checkpoints").mkdir(parents=True)
    for name in names:
        write_model(root / "checkpoints" / f"{name}.safetensors", size)
    return root


@contextmanager
def _worker(folder: Path, models: Path, **more: str) -> Iterator[Running]:
    """Yield a worker whose checkpoints nobody has in memory."""
    folder.mkdir()
    for path in (models / "checkpoints").iterdir():
        forget(path)
    with JobSource() as source:
        told = {"LOG_FORMAT": "json", "MODELS_DIR": str(models), **more}
        variables = webui_dir.environment(folder, {**source.worker_env(), **told})
        (folder / "webui" / "launch.py").write_text(WEBUI, encoding="utf-8")
        with WorkerProcess([str(ROOT / "handler.py")], variables, folder) as process:
            yield Running(process, source, "")
            process.terminate()
            process.wait(30)


def _until_loaded(folder: Path, models: Path, ahead: str) -> float:
    """Return the seconds from the worker's start to its WebUI's loaded model."""
    with _worker(folder, models, MODEL_READAHEAD=ahead, IMPORT_S=str(IMPORT_S)) as running:
        return running.process.wait_line(r"Model loaded\.", timeout=120) - running.process.started_at


def _alternating(folder: Path, models: Path, ahead: str, wait: str) -> float:
    """Return the seconds a job takes where every other one needs the other checkpoint and memory keeps none."""
    more = {"CONCURRENCY": "4", "STANDIN_STEP_SECONDS": STEP_S, "IMPORT_S": "0", "FORGET": "1"}
    with _worker(folder, models, MODEL_READAHEAD=ahead, GROUP_WAIT_S=wait, **more) as running:
        running.source.wait_event("take", timeout=120)
        jobs = [{**JOB, "seed": number, "checkpoint": NAMES[number % 2]} for number in range(JOBS)]
        began = time.monotonic()
        run_jobs(running, jobs, timeout=180)
        return (time.monotonic() - began) / JOBS
