"""The simulation behind `python -m worker plan`, against four real workers under RunPod's SDK taking the same jobs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from random import Random
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.harness import ROOT, percentile
from tests.support import webui_dir
from tests.support.jobsource import JobSource
from tests.support.workerproc import WorkerProcess
from worker.plan.simulate import Load, SimulatedEndpoint, simulate

if TYPE_CHECKING:
    from pathlib import Path

WORKERS = 4
JOBS = 80
STEPS, STEP_S = 10, 0.1
RATE = 3.0
SEED = 7


def run(folder: Path) -> list[Figure]:
    """Measure."""
    random = Random(SEED)
    arrivals, now = [], 0.0
    for _ in range(JOBS):
        now += random.expovariate(RATE)
        arrivals.append(now)
    p50, p95, seconds, spent = _real(folder, arrivals)
    load = Load(RATE, spent["generate"], spread=0.0, deliver_s=spent["rest"], arrivals=tuple(arrivals))
    told = simulate(load, SimulatedEndpoint(workers=WORKERS, active=WORKERS, idle_s=1e9))
    against = "four real workers"
    pairs = {"seconds": (told.seconds, seconds), "p50": (told.p50_s, p50), "p95": (told.p95_s, p95)}
    error = max(abs(ours / theirs - 1) for ours, theirs in pairs.values())
    figures = [Figure(f"scale.{name}", ours, "s simulated", theirs, against) for name, (ours, theirs) in pairs.items()]
    return [*figures, Figure("scale.largest_error", error, "share")]


def _real(folder: Path, arrivals: list[float]) -> tuple[float, float, float, dict[str, float]]:
    """Return median and 95th percentile of the jobs' times, the whole run's, and the mean phases of a job."""
    with ExitStack() as stack:
        source = stack.enter_context(JobSource())
        for number in range(WORKERS):
            place = folder / str(number)
            place.mkdir()
            more = {**source.worker_env(), "STANDIN_STEP_SECONDS": str(STEP_S), "LOG_LEVEL": "warning"}
            variables = webui_dir.environment(place, more)
            stack.enter_context(WorkerProcess([str(ROOT / "handler.py")], variables, place))
        source.wait_event("take", timeout=120, count=WORKERS)
        time.sleep(1.0)
        names, began = [], time.monotonic()
        job = {"prompt": "a lighthouse", "steps": STEPS, "width": 256, "height": 256}
        for number, when in enumerate(arrivals):
            time.sleep(max(0.0, began + when - time.monotonic()))
            names.append(source.offer({"input": {**job, "seed": number}}))
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda name: source.wait_result(name, 120), names))
        offered = {event.job_id: event.at for event in source.events("offered")}
        times = [result.at - offered[result.job_id] for result in results]
        phases = [result.output["phase_ms"] for result in results]
        generate = sum(one["generate"] for one in phases) / len(phases) / 1000
        rest = sum(one["total"] - one["generate"] - one["queue"] for one in phases) / len(phases) / 1000
        seconds = max(result.at for result in results) - offered[names[0]]
    return percentile(times, 0.5), percentile(times, 0.95), seconds, {"generate": generate, "rest": rest}
