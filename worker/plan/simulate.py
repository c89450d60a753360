"""An endpoint as a discrete-event simulation: jobs arrive, workers start, load models, generate, upload, go to sleep.

Pure: the same load and the same endpoint with the same seed give the same result.
"""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Load:
    """What comes in.

    Attributes:
        rate: Jobs a second, on average; they come at random (Poisson).
        generate_s: On the GPU, of one job.
        spread: Standard deviation of that, as a share of it.
        deliver_s: After the GPU: checks, encoding, upload.
        models: Share of each checkpoint; one: everybody wants the same.
        jobs: How many are played.
        arrivals: Seconds at which they come instead, in order.
    """

    rate: float
    generate_s: float
    spread: float = 0.2
    deliver_s: float = 0.5
    models: tuple[float, ...] = (1.0,)
    jobs: int = 4000
    arrivals: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What serves it.

    Attributes:
        workers: At most.
        active: That never sleep.
        cold_s: From being woken to taking a job.
        idle_s: Without a job until a worker sleeps.
        switch_s: To load another checkpoint.
        at_once: Jobs that a worker holds: one on the GPU, the others delivered or waiting.
        gap_s: The GPU's pause between two jobs of a worker that holds one job at a time.
        queue: What wakes workers: a job that waited `queue_s` seconds, or one worker for every `queue_jobs` jobs.
        queue_s: See `queue`.
        queue_jobs: See `queue`.
        handover_s: From the queue into a worker.
    """

    workers: int
    active: int = 0
    cold_s: float = 25.0
    idle_s: float = 5.0
    switch_s: float = 4.0
    at_once: int = 2
    gap_s: float = 0.5
    queue: Literal["delay", "count"] = "delay"
    queue_s: float = 4.0
    queue_jobs: int = 4
    handover_s: float = 0.05


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it.

    Attributes:
        p50_s: Median time from a job's coming to its answer.
        p95_s: 95 of 100 were faster.
        paid_s: GPU seconds paid for each job: start, work, idle.
        busy: Share of the paid time in which the GPU generated.
        cold_starts: How often a worker was woken.
        most_awake: Workers awake at the same time, at most.
        seconds: From the first job's coming to the last answer.
    """

    p50_s: float
    p95_s: float
    paid_s: float
    busy: float
    cold_starts: int
    most_awake: int
    seconds: float


@dataclass(slots=True)
class _Worker:
    awake_since: float | None = None
    ready: bool = False
    model: int | None = None
    gpu_free: float = 0.0
    held: int = 0
    idle_since: float = 0.0
    naps: int = 0


@dataclass(slots=True)
class _World:
    load: Load
    end: Endpoint
    random: Random
    now: float = 0.0
    events: list[tuple[float, int, str, int, int]] = field(default_factory=list)
    count: itertools.count[int] = field(default_factory=itertools.count)
    line: list[tuple[float, int, int]] = field(default_factory=list)
    workers: list[_Worker] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    busy: float = 0.0
    paid: float = 0.0
    cold: int = 0
    most: int = 0
    last: float = 0.0

    def at(self, when: float, what: str, who: int = 0, which: int = 0) -> None:
        heapq.heappush(self.events, (when, next(self.count), what, who, which))


def simulate(load: Load, endpoint: Endpoint, *, seed: int = 1) -> Result:
    """Play `load` on `endpoint` from the first job to the last answer."""
    world = _World(load, endpoint, Random(seed))  # noqa: S311 - a simulation, not a secret
    world.workers = [_Worker() for _ in range(endpoint.workers)]
    for worker in world.workers[: endpoint.active]:
        worker.awake_since, worker.ready, worker.model = 0.0, True, 0
    arrivals = load.arrivals or _arrivals(load, world.random)
    for when in arrivals:
        world.at(when, "job")
    while world.events and len(world.times) < len(arrivals):
        world.now, _, what, who, which = heapq.heappop(world.events)
        _EVENTS[what](world, who, which)
        _serve(world)
    world.now = max(world.now, world.last)
    for worker in world.workers:
        if worker.awake_since is not None:
            world.paid += world.now - worker.awake_since
    ordered = sorted(world.times)
    paid = max(world.paid, 1e-9)
    return Result(
        p50_s=ordered[len(ordered) // 2],
        p95_s=ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        paid_s=paid / len(ordered),
        busy=min(1.0, world.busy / paid),
        cold_starts=world.cold,
        most_awake=max(world.most, endpoint.active),
        seconds=world.now - arrivals[0],
    )


def _arrivals(load: Load, random: Random) -> Sequence[float]:
    return list(itertools.accumulate(random.expovariate(load.rate) for _ in range(load.jobs)))


def _job(world: _World, _who: int, _which: int) -> None:
    model = world.random.choices(range(len(world.load.models)), world.load.models)[0]
    world.line.append((world.now, model, 0))
    if world.end.queue == "delay":
        world.at(world.now + world.end.queue_s, "look")
    asleep = all(worker.awake_since is None for worker in world.workers)
    wanted = -(-len(world.line) // max(1, world.end.queue_jobs)) if world.end.queue == "count" else 0
    if asleep or wanted > sum(worker.awake_since is not None for worker in world.workers):
        _wake(world)


def _look(world: _World, _who: int, _which: int) -> None:
    """A job may have waited too long by now: one more worker for each that has and that no start is meant for."""
    late = sum(1 for came, _, _ in world.line if world.now - came >= world.end.queue_s - 1e-9)
    starting = sum(1 for worker in world.workers if worker.awake_since is not None and not worker.ready)
    if late > starting * world.end.at_once:
        _wake(world)


def _wake(world: _World) -> None:
    for index, worker in enumerate(world.workers):
        if worker.awake_since is None:
            worker.awake_since = world.now
            world.cold += 1
            world.most = max(world.most, sum(one.awake_since is not None for one in world.workers))
            world.at(world.now + world.end.cold_s, "ready", index)
            return


def _ready(world: _World, who: int, _which: int) -> None:
    worker = world.workers[who]
    worker.ready, worker.model, worker.gpu_free = True, 0, world.now
    _rest(world, who)


def _done(world: _World, who: int, _which: int) -> None:
    world.workers[who].held -= 1
    _rest(world, who)


def _rest(world: _World, who: int) -> None:
    worker = world.workers[who]
    if worker.held == 0:
        worker.naps += 1
        worker.idle_since = world.now
        world.at(world.now + world.end.idle_s, "sleep", who, worker.naps)


def _sleep(world: _World, who: int, which: int) -> None:
    worker = world.workers[who]
    if who >= world.end.active and worker.held == 0 and worker.naps == which and worker.awake_since is not None:
        world.paid += world.now - worker.awake_since
        worker.awake_since, worker.ready = None, False


def _serve(world: _World) -> None:
    """Give waiting jobs to workers that take some; the freest first."""
    while world.line:
        free = [one for one in world.workers if one.ready and one.held < world.end.at_once]
        if not free:
            return
        worker = min(free, key=lambda one: (one.held, max(one.gpu_free, world.now)))
        came, model, _ = world.line.pop(0)
        worker.held += 1
        begins = max(worker.gpu_free, world.now + world.end.handover_s)
        if worker.model != model:
            begins += world.end.switch_s
            worker.model = model
        spent = max(0.05, world.random.gauss(1.0, world.load.spread)) * world.load.generate_s
        worker.gpu_free = begins + spent
        answered = worker.gpu_free + world.load.deliver_s
        if world.end.at_once == 1:
            worker.gpu_free = answered + world.end.gap_s
        world.busy += spent
        world.times.append(answered - came)
        world.last = max(world.last, answered)
        world.at(worker.gpu_free if world.end.at_once == 1 else answered, "done", world.workers.index(worker))


_EVENTS = {"job": _job, "look": _look, "ready": _ready, "done": _done, "sleep": _sleep}
