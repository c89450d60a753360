"""What the worker adds to a job: all time but what the WebUI says it spent, and the whole job against a plain request.

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

    from worker.host import Host
    from worker.webui.transport import Begun, Reply

LARGE, SMALL = 1024, 64
LARGE_JOBS, SMALL_JOBS = 40, 150
WARM_UP = 5


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
        Figure("overhead.1024_p50", percentile(large.own, 0.5), "ms", target="<= 10"),
        Figure("overhead.1024_p95", percentile(large.own, 0.95), "ms"),
        Figure("overhead.1024_p99", percentile(large.own, 0.99), "ms", target="<= 25"),
        Figure(
            "overhead.1024_whole_job",
            percentile(large.worker, 0.5),
            "ms",
            percentile(large.plain, 0.5),
            plain,
            "ratio <= 1.00",
        ),
        Figure("overhead.64_p50", percentile(small.own, 0.5), "ms", target="<= 2"),
        Figure("overhead.64_p95", percentile(small.own, 0.95), "ms"),
        Figure("overhead.64_p99", percentile(small.own, 0.99), "ms"),
        Figure("overhead.64_whole_job", percentile(small.worker, 0.5), "ms", percentile(small.plain, 0.5), plain),
    ]


def _measure(host: Host, side: int, count: int) -> Times:
    return asyncio.run(_alternate(host, side, count))


async def _alternate(host: Host, side: int, count: int) -> Times:
    times = Times([], [], [])
    spent = _webui_seconds(host)
    for number in range(count + WARM_UP):
        job = {"prompt": "a lighthouse at dusk", "steps": 1, "width": side, "height": side, "seed": number}
        body = {**job, "override_settings": {"sd_model_checkpoint": host.backend.loaded}}
        seconds = [0.0, 0.0, 0.0]
        for one in ("plain", "worker") if number % 2 else ("worker", "plain"):  # neither always finds a warm cache
            began = time.perf_counter()
            if one == "plain":
                _plain(host.backend.plan.url, body)
                seconds[0] = time.perf_counter() - began
            else:
                answer = await host.run({"id": f"{side}-{number}", "input": job}, on_progress=lambda _: None)
                seconds[1] = time.perf_counter() - began
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                seconds[2] = seconds[1] - spent.pop()
        if number >= WARM_UP:
            times.plain.append(seconds[0] * 1000)
            times.worker.append(seconds[1] * 1000)
            times.own.append(seconds[2] * 1000)
    return times


def _webui_seconds(host: Host) -> list[float]:
    """Return a list that gets what the WebUI itself spent on each picture, by its own header."""
    spent: list[float] = []
    transport = host.backend.client.transport
    finish = transport.finish

    def noting(begun: Begun, *, timeout: float) -> Reply:
        reply = finish(begun, timeout=timeout)
        if begun.method == "POST":
            spent.append(float(reply.headers["x-process-time"]))
        return reply

    transport.finish = noting  # type: ignore[method-assign]  # a header of the answer that the worker has no use for
    return spent


def _plain(url: str, body: dict[str, Any]) -> bytes:
    answer = requests.post(f"{url}/sdapi/v1/txt2img", json=body, timeout=60)
    return base64.b64decode(answer.json()["images"][0])
