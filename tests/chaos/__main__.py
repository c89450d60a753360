"""A chaos run: ``python -m tests.chaos [--seed N] [--jobs N]``; a seed stands for its jobs and faults."""

from __future__ import annotations

import argparse
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from tests.chaos.asks import CONTROL
from tests.chaos.evidence import Evidence
from tests.chaos.plan import part, plan
from tests.chaos.referee import Expectations, Score
from tests.chaos.world import WORKERS, World
from tests.support import models
from tests.support.standin import running_standin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from tests.chaos.plan import Job
    from tests.support.standin import StandIn

AT_ONCE = 8
"""Jobs offered and not answered, at most."""
SOON_S = 0.5
"""So long after a fault was made ready a job may come that meets it."""


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="leave out the plan's jobs before this one")
    parser.add_argument("--last", type=int, default=None, help="leave out the plan's jobs after this one")
    parser.add_argument("--faults", type=float, default=0.3, help="share of jobs before which something goes wrong")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds without any answer before the end")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        jobs = part(plan(seed, options.jobs, faults=options.faults), options.first, options.last)
        return run(seed, jobs, options.patience, Path(folder))


def run(seed: int, jobs: Sequence[Job], patience: float, folder: Path) -> int:
    """Run it; print the report; return 0 when all five zeros hold."""
    _say(f"chaos: seed {seed}, {len(jobs)} jobs, {WORKERS} workers")
    began = time.monotonic()
    score = Score()
    referee = folder / "referee"
    world = World(folder, referee / "models" / "loras")
    models.checkpoint(referee / "controlnet" / f"{CONTROL}.safetensors")
    with world, _referee(referee) as standin:
        world.wait_ready()
        expectations = Expectations(standin, jobs)
        ready = time.monotonic()
        _drive(world, jobs, patience)
        took = time.monotonic() - ready
        world.end()
        score.judge(jobs, expectations, world.source)
        score.wrong += world.flaws
        score.look_for_torn(folder)
        if score.wrong or score.lost or score.duplicates or score.torn or world.orphans:
            place = Path("out") / f"chaos-{seed}"
            world.write_down(place)
            evidence = Evidence(place, world.source, world.records)
            for job in score.suspects.values():
                answers = [event.data.get("output") or {} for event in world.source.events("done", job.id)]
                evidence.write(job, world.whole(job), expectations.pictures(job, answers[-1] if answers else {}))
            _say(f"what happened is written down in {place}")
        orphans, started = world.orphans, world.started
        lost_s = _time_lost(world, jobs)
    _report(score, jobs, orphans, lost_s, started, took)
    line = {
        "seed": seed,
        "jobs": len(jobs),
        "right": score.right,
        "typed_errors": sum(score.errors.values()),
        "wrong": len(score.wrong),
        "lost": len(score.lost),
        "duplicates": len(score.duplicates),
        "orphans": len(orphans),
        "torn": len(score.torn),
        "cached": score.cached,
        "peak_mb": round(world.peak_bytes / 1e6),
        "seconds": round(time.monotonic() - began, 1),
    }
    _say(json.dumps(line))
    return 1 if any(line[name] for name in ("wrong", "lost", "duplicates", "orphans", "torn")) else 0


def _referee(folder: Path) -> AbstractContextManager[StandIn]:
    """A WebUI of the same models to which nothing happens."""
    env = {"STANDIN_EXTENSIONS": "controlnet"}
    return running_standin(folder, env=env, args=["--controlnet-dir", str(folder / "controlnet")])


def _drive(world: World, jobs: Sequence[Job], patience: float) -> None:
    """Offer all jobs, a few at a time, with what happens before each; return when all are settled."""
    waiting = list(jobs)
    open_jobs: list[Job] = []
    moved = time.monotonic()
    while (waiting or open_jobs) and time.monotonic() - moved < patience:
        world.tick()
        world.measure()
        still = [job for job in open_jobs if not world.settled(job)]
        if len(still) < len(open_jobs):
            moved = time.monotonic()
        open_jobs = still
        while len(open_jobs) < AT_ONCE and (job := _next_of(waiting, open_jobs)) is not None:
            waiting.remove(job)
            if job.fault is not None:
                world.do(job.fault, job.worker, job)
            world.offer(job)
            open_jobs.append(job)
        time.sleep(0.05)  # what is watched are other processes' files and answers, which wake nobody here


def _next_of(waiting: Sequence[Job], open_jobs: Sequence[Job]) -> Job | None:
    """Return the first job that does not wait for another's end."""
    still_open = {job.id for job in open_jobs}
    return next((job for job in waiting if not (job.waits and job.after in still_open)), None)


def _time_lost(world: World, jobs: Sequence[Job]) -> dict[str, float]:
    """Return by kind of fault how many seconds longer than the median job the job took that it hit hardest.

    That is one which the worker held to which it happened, or the job that was offered with it. Where several things
    happen at once, each is charged with all of it: the figures are upper bounds.
    """
    spans: dict[str, tuple[float, float]] = {}
    held: dict[str, list[str]] = {}
    for job in jobs:
        offered, done = world.source.events("offered", job.id), world.source.events("done", job.id)
        if offered and done:
            spans[job.id] = (offered[0].at, done[0].at)
        for event in world.source.events("taken", job.id):
            held.setdefault(event.data["pod"], []).append(job.id)
    usual = statistics.median(end - start for start, end in spans.values()) if spans else 0.0
    lost: dict[str, list[float]] = {}
    for job in jobs:
        if job.id not in world.happened:
            continue
        at, pod = world.happened[job.id]
        hit = [spans[one] for one in {job.id, *held.get(pod, ())} if one in spans]
        longer = [end - start - usual for start, end in hit if start <= at + SOON_S and end >= at]
        lost.setdefault(job.fault_name, []).append(max([0.0, *longer]))
    return {name: statistics.fmean(times) for name, times in lost.items()}


def _report(
    score: Score, jobs: Sequence[Job], orphans: list[str], lost_s: dict[str, float], started: int, took: float
) -> None:
    _say(f"pictures right: {score.right} jobs; workers started: {started}; {took:.1f} s of jobs")
    offered = Counter(job.kind for job in jobs)
    _say("by kind: " + ", ".join(f"{kind} {score.rights[kind]}/{count}" for kind, count in sorted(offered.items())))
    _say("typed errors: " + (", ".join(f"{code} {count}" for code, count in sorted(score.errors.items())) or "none"))
    for one in score.told:
        _say(f"  {one}")
    _say("faults, and how much longer than the median job the one took that each hit hardest (at most: they overlap):")
    for name, count in sorted(Counter(job.fault_name for job in jobs if job.fault_name).items()):
        _say(f"  {name:18} {count:3} x  {lost_s.get(name, 0.0):6.1f} s")
    for title, found in (
        ("wrong", score.wrong),
        ("lost", score.lost),
        ("duplicates", score.duplicates),
        ("orphans", orphans),
        ("torn", score.torn),
    ):
        for one in found:
            _say(f"{title}: {one}")


if __name__ == "__main__":
    sys.exit(main())
