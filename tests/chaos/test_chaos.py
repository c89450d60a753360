"""The short form of a chaos run, and the soak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.chaos.hostile import HOSTILE
from tests.chaos.kinds import KINDS
from tests.chaos.plan import STRIKES, WEBUI_FAULTS, WORLD_FAULTS, part, plan
from tests.chaos.studio_kinds import STUDIO_KINDS
from tests.support.jobsource import JobSource
from tests.support.rig import Rig
from tests.support.workerproc import ROOT

if TYPE_CHECKING:
    from pathlib import Path

ZEROS = ("wrong", "lost", "duplicates", "orphans", "torn")
FAILING = 20
"""Jobs of 300, at most, that deserve their pictures and may end in an error for what goes wrong."""
SOAK = int(os.environ.get("SOAK_JOBS", "20000"))


def chaos(*arguments: str, timeout: float) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    sys.stdout.write(done.stdout + done.stderr)
    found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    assert {name: found[name] for name in ZEROS} == dict.fromkeys(ZEROS, 0)
    assert done.returncode == 0
    return found


def test_a_seed_is_a_plan_and_a_long_plan_has_every_fault() -> None:
    assert plan(3, 300, faults=0.3) == plan(3, 300, faults=0.3)
    assert plan(3, 300, faults=0.3) != plan(4, 300, faults=0.3)
    jobs = plan(3, 600, faults=0.3)
    every = {"", *WORLD_FAULTS, *(str(one["fault"]) for one in WEBUI_FAULTS)}
    assert {job.fault_name for job in jobs if job.strike is None} == every
    assert {job.kind for job in jobs} >= {kind.__name__.strip("_") for kind in KINDS}
    struck = {(job.kind.removesuffix("_then"), job.strike) for job in jobs if job.strike}
    assert struck == {(kind.__name__.strip("_"), strike) for kind in STUDIO_KINDS for strike in STRIKES}
    hostile = [job.input for job in plan(3, 1000, faults=0.3) if job.kind == "hostile" and not job.valid]
    assert all(one in hostile for one in HOSTILE)


def test_a_part_of_a_plan_has_the_jobs_that_its_jobs_go_on_from() -> None:
    jobs = plan(3, 300, faults=0.3)
    number = next(number for number, job in enumerate(jobs) if job.kind == "continued_then")
    assert part(jobs, number, number) == [jobs[number - 1], jobs[number]]
    assert jobs[number].input["job"] == jobs[number - 1].id
    assert part(jobs, 0, None) == jobs


def test_whatever_happens_no_picture_is_wrong_and_no_job_is_lost() -> None:
    found = chaos("--seed", "1", "--jobs", "16", timeout=110)
    assert found["right"] + found["typed_errors"] == 16
    assert found["right"] >= 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [2, 3])
def test_the_same_for_hundreds_of_jobs(seed: int) -> None:
    found = chaos("--seed", str(seed), "--jobs", "300", timeout=1700)
    assert found["right"] >= sum(job.valid for job in plan(seed, 300, faults=0.3)) - FAILING


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_jobs_leave_no_trace_in_the_worker(tmp_path: Path) -> None:
    with JobSource(hold_s=1.0) as source, Rig(tmp_path, source, LOG_LEVEL="warning", RUNPOD_LOG_LEVEL="ERROR") as rig:
        rig.run()
        worker = psutil.Process(rig.worker.pid)
        figures: list[tuple[int, int, int]] = []
        for _ in range(20):
            jobs = [rig.offer(steps=1, seed=number) for number in range(SOAK // 20)]
            for job in jobs:
                assert "images" in rig.answer(job, timeout=600)
            figures.append((worker.memory_info().rss, worker.num_fds(), worker.num_threads()))
            sys.stdout.write(f"{figures[-1]}\n")
        settled = figures[len(figures) // 2 :]
        memory = [rss for rss, _, _ in settled]
        assert max(memory) - min(memory) < 15_000_000
        assert max(fds for _, fds, _ in settled) - min(fds for _, fds, _ in settled) <= 5
        assert max(threads for *_, threads in settled) - min(threads for *_, threads in settled) <= 3
