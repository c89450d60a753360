"""The worker's share of a job: all time but the WebUI's own, and the whole job against a plain request.

The plain request is what clients of the WebUI write: `requests.post` with default headers, which asks for gzip and gets
it, then base64 to bytes. Both talk to the same stand-in, in turn; the steps take no time, so only costs are left.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.figures import Figure
from benchmarks.harness import GRAIN, percentile
from tests.support.webui_dir import running_host
from worker.telemetry import logs

if TYPE_CHECKING:
    from pathlib import Path

    from worker.app import Worker

LARGE, SMALL = 1024, 64
LARGE_JOBS, SMALL_JOBS = 40, 150
WARM_UP = 5
TXT2IMG = "/sdapi/v1/txt2img"


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of each job: whole, through the worker and plain, and what the worker did itself."""

    worker: list[float]
    plain: list[float]
    own: list[float]


def run(folder: Path) -> list[Figure]:
    """Measure."""
    with (folder / "log").open("w", encoding="utf-8") as log, contextlib.redirect_stderr(log):
        logs.configure(level="info", json=True)  # as in production
        with running_host(folder, {"MAX_OUTPUT_BYTES": "20000000", "STANDIN_GRAIN": GRAIN}) as host:
            large = _measure(host, LARGE, LARGE_JOBS)
            small = _measure(host, SMALL, SMALL_JOBS)
    plain = "requests.post with default headers"
    return [
        Figure("overhead.1024_p50", percentile(large.own, 0.5), "ms"),
        Figure("overhead.1024_p95", percentile(large.own, 0.95), "ms"),
        Figure("overhead.1024_p99", percentile(large.own, 0.99), "ms"),
        Figure(
            "overhead.1024_whole_job",
            percentile(large.worker, 0.5),
            "ms",
            percentile(large.plain, 0.5),
            plain,
            "ratio <= 0.90",
        ),
        Figure("overhead.64_p50", percentile(small.own, 0.5), "ms"),
        Figure("overhead.64_p95", percentile(small.own, 0.95), "ms"),
        Figure("overhead.64_p99", percentile(small.own, 0.99), "ms"),
        Figure(
            "overhead.64_whole_job",
            percentile(small.worker, 0.5),
            "ms",
            percentile(small.plain, 0.5),
            plain,
            "ratio <= 2.00",
        ),
    ]


def _measure(host: Worker, side: int, count: int) -> Times:
    return asyncio.run(_alternate(host, side, count))


async def _alternate(host: Worker, side: int, count: int) -> Times:
    times = Times([], [], [])
    turns: list[str] = []
    _served(host)
    for number in range(count + WARM_UP):
        job = {"prompt": "a lighthouse at dusk", "steps": 1, "width": side, "height": side, "seed": number}
        body = {**job, "override_settings": {"sd_model_checkpoint": host.backend.started_model_name}}
        for one in ("plain", "worker") if number % 2 else ("worker", "plain"):  # neither always finds a warm cache
            began = time.perf_counter()
            if one == "plain":
                _plain(host.backend.plan.url, body)
                times.plain.append(time.perf_counter() - began)
            else:
                answer = await host.run({"id": f"{side}-{number}", "input": job}, on_progress=lambda _: None)
                times.worker.append(time.perf_counter() - began)
                if "error" in answer:
                    raise RuntimeError(answer["error"])
            turns.append(one)
    spent = [seconds for turn, seconds in zip(turns, _served(host), strict=True) if turn == "worker"]
    times.own.extend(whole - webui for whole, webui in zip(times.worker, spent, strict=True))
    return Times(*([seconds * 1000 for seconds in each[WARM_UP:]] for each in (times.worker, times.plain, times.own)))


def _served(host: Worker) -> list[float]:
    """Return what the WebUI spent on each picture since the last time: from its request until its answer is sent."""
    url = host.backend.plan.url
    seconds = [seconds for path, seconds in requests.get(f"{url}/standin/served", timeout=10).json() if path == TXT2IMG]
    requests.post(f"{url}/standin/reset", timeout=10).raise_for_status()
    return seconds


def _plain(url: str, body: dict[str, Any]) -> bytes:
    answer = requests.post(f"{url}{TXT2IMG}", json=body, timeout=60)
    return base64.b64decode(answer.json()["images"][0])
