"""Surroundings of benchmarks: the stand-in WebUI, a real S3 server behind a lag, workers under RunPod's real SDK."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.lag import lag
from tests.support import webui_dir
from tests.support.jobsource import JobSource
from tests.support.ports import free_port
from tests.support.workerproc import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parents[1]
BUCKET = "pictures"
JOB: dict[str, Any] = {"prompt": "a lighthouse at dusk", "steps": 20, "width": 512, "height": 512, "seed": 1}
"""One second of generation where a step takes 0.05 s."""
STEP_S = "0.05"
LIMIT = 1_000_000_000
GRAIN = "0.05"
"""Makes the stand-in's files as large as photos'."""


@contextmanager
def store(delay_s: float) -> Iterator[dict[str, str]]:
    """Yield the worker's environment for a bucket whose every answer comes `delay_s` late."""
    port = free_port()
    with Path(os.devnull).open("w") as nowhere:
        server = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=nowhere,
            stderr=nowhere,
        )
    try:
        base = f"http://127.0.0.1:{port}"
        until(lambda: _up(f"{base}/moto-api/"), 60)
        requests.put(f"{base}/{BUCKET}", timeout=30).raise_for_status()
        with lag(port, delay_s) as hop:
            yield {
                "BUCKET_ENDPOINT_URL": f"http://127.0.0.1:{hop}",
                "BUCKET_NAME": BUCKET,
                "BUCKET_ACCESS_KEY_ID": "benchmark",
                "BUCKET_SECRET_ACCESS_KEY": "benchmark-secret",
            }
    finally:
        server.kill()
        server.wait()


@dataclass(frozen=True, slots=True)
class Running:
    """A worker process that takes jobs from `source`; `webui` is its WebUI's address."""

    process: WorkerProcess
    source: JobSource
    webui: str

    def spans(self, last: int) -> list[tuple[float, float]]:
        """Return when the WebUI began and ended its last jobs on the GPU, Unix seconds."""
        found = requests.get(f"{self.webui}/standin/spans", timeout=10).json()
        return [(began, ended) for began, ended in found[-last:]]


@contextmanager
def worker(
    folder: Path, *, program: Sequence[str] = ("handler.py",), environment: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Yield a worker under the real SDK that has its WebUI ready and asks for jobs."""
    folder.mkdir(parents=True, exist_ok=True)
    with JobSource(limit_bytes=LIMIT) as source:
        variables = webui_dir.environment(
            folder,
            {**source.worker_env(), "STANDIN_STEP_SECONDS": STEP_S, "LOG_LEVEL": "warning", **(environment or {})},
        )
        arguments = [str(ROOT / program[0]), *program[1:]]
        with WorkerProcess(arguments, variables, folder) as process:
            source.wait_event("take", timeout=90)
            yield Running(process, source, f"http://127.0.0.1:{variables['WEBUI_PORT']}")
            process.terminate()
            process.wait(30)


def share(spans: Sequence[tuple[float, float]]) -> float:
    """Return the part of the time from the first beginning to the last end in which something ran."""
    busy = sum(ended - began for began, ended in spans)
    return busy / (spans[-1][1] - spans[0][0])


def run_jobs(running: Running, jobs: Sequence[Mapping[str, Any]], *, timeout: float) -> list[dict[str, Any]]:
    """Offer all jobs at once and return their answers; a job that fails ends the benchmark."""
    names = [running.source.offer({"input": dict(job)}) for job in jobs]
    results = [running.source.wait_result(name, timeout) for name in names]
    for result in results:
        if result.error is not None:
            raise RuntimeError(f"a job of the benchmark failed: {result.error}\n{running.process.log[-3000:]}")
    return [result.output for result in results]


def percentile(values: Sequence[float], share_: float) -> float:
    """Return the value below which `share_` (0 to 1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share_ * len(ordered)))]


def until(condition: Any, seconds: float) -> None:
    """Return when `condition` holds; raises TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.05)


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory),
        "python": platform.python_version(),
        "system": platform.system(),
        "gpu": None,
        "measured": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _up(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code < 500
    except requests.RequestException:
        return False
