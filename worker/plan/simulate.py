"""A discrete-event simulation of an endpoint: jobs arrive, workers start, load models, generate, deliver, go to sleep.

The same load and the same endpoint with the same seed give the same result.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import simpy

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    Process = Generator[simpy.Event, Any, None]


@dataclass(frozen=True, slots=True)
class Load:
    """The jobs that arrive.

    Attributes:
        rate: Jobs a second, on average; they arrive at random (Poisson).
        generate_s: On the GPU, of one job.
        spread: Standard deviation of that, as a share of it.
        deliver_s: After the GPU: checks, encoding, upload.
        models: Share of each checkpoint; one: all jobs ask for the same.
        jobs: Number of jobs simulated.
        arrivals: Seconds at which they arrive instead, in order.
    """

    rate: float
    generate_s: float
    spread: float = 0.2
    deliver_s: float = 0.5
    models: tuple[float, ...] = (1.0,)
    jobs: int = 4000
    arrivals: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class SimulatedEndpoint:
    """The workers that serve them.

    Attributes:
        workers: At most.
        active: That never sleep.
        cold_s: From being woken to taking a job.
        idle_s: Without a job until a worker sleeps.
        switch_s: To load another checkpoint.
        at_once: Jobs that a worker holds: one on the GPU, the others delivered or waiting.
        gap_s: The GPU's pause between two jobs of a worker that holds one job at a time.
        queue: The reason to wake a worker: a job that waited `queue_s` seconds, or one worker for every `queue_jobs`
            jobs.
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
    """Times and costs of a simulated load.

    Attributes:
        p50_s: Median time from a job's arrival to its answer.
        p95_s: 95 of 100 were faster.
        paid_s: GPU seconds paid for each job: start, work, idle.
        busy: Share of the paid time in which the GPU generated.
        cold_starts: How often a worker was woken.
        most_awake: Workers awake at the same time, at most.
        seconds: From the first job's arrival to the last answer.
    """

    p50_s: float
    p95_s: float
    paid_s: float
    busy: float
    cold_starts: int
    most_awake: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Job:
    arrived: float
    model: int


def simulate(load: Load, endpoint: SimulatedEndpoint, *, seed: int = 1) -> Result:
    """Simulate `load` on `endpoint` from the first job to the last answer."""
    simulation = _Simulation(load, endpoint, Random(seed))  # noqa: S311 - a simulation, not a secret
    return simulation.run()


class _Simulation:
    """An endpoint in simulated time."""

    def __init__(self, load: Load, endpoint: SimulatedEndpoint, random: Random) -> None:
        self.env = simpy.Environment()
        self.load, self.endpoint, self.random = load, endpoint, random
        self.waiting: list[_Job] = []
        self.workers = [_Worker(self, awake=index < endpoint.active) for index in range(endpoint.workers)]
        self.times: list[float] = []
        self.busy_s = self.paid_s = 0.0
        self.cold_starts, self.most_awake = 0, endpoint.active
        self.jobs = 0
        self.all_answered = self.env.event()

    def run(self) -> Result:
        arrivals = self.load.arrivals or self._random_arrivals()
        self.jobs = len(arrivals)
        self.env.process(self._arrive(arrivals))
        self.env.run(until=self.all_answered)
        for worker in self.workers:
            worker.stop_paying()
        ordered = sorted(self.times)
        paid_s = max(self.paid_s, 1e-9)
        return Result(
            p50_s=ordered[len(ordered) // 2],
            p95_s=ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
            paid_s=paid_s / len(ordered),
            busy=min(1.0, self.busy_s / paid_s),
            cold_starts=self.cold_starts,
            most_awake=self.most_awake,
            seconds=self.env.now - arrivals[0],
        )

    def answered(self, job: _Job) -> None:
        self.times.append(self.env.now - job.arrived)
        if len(self.times) == self.jobs:
            self.all_answered.succeed()

    def hand_out(self) -> None:
        """Give waiting jobs to workers that have room, the freest first."""
        while self.waiting:
            free = [worker for worker in self.workers if worker.ready and worker.held < self.endpoint.at_once]
            if not free:
                return
            worker = min(free, key=lambda one: (one.held, max(one.gpu_free_at, self.env.now)))
            self.env.process(worker.serve(self.waiting.pop(0)))

    def _random_arrivals(self) -> Sequence[float]:
        return list(itertools.accumulate(self.random.expovariate(self.load.rate) for _ in range(self.load.jobs)))

    def _arrive(self, arrivals: Sequence[float]) -> Process:
        for arrival in arrivals:
            yield self.env.timeout(arrival - self.env.now)
            model = self.random.choices(range(len(self.load.models)), self.load.models)[0]
            self.waiting.append(_Job(arrival, model))
            self._scale_by_count()
            if self.endpoint.queue == "delay":
                self.env.process(self._scale_by_delay())
            self.hand_out()

    def _scale_by_count(self) -> None:
        """Wake the first worker, and with scaling by count one for every `queue_jobs` jobs that wait."""
        awake = sum(worker.awake for worker in self.workers)
        by_count = self.endpoint.queue == "count"
        wanted = -(-len(self.waiting) // max(1, self.endpoint.queue_jobs)) if by_count else 1 if not awake else 0
        if not awake or wanted > awake:
            self._wake_one()

    def _scale_by_delay(self) -> Process:
        """Wake a worker when more jobs have waited too long than the starting ones will take."""
        yield self.env.timeout(self.endpoint.queue_s)
        late = sum(self.env.now - job.arrived >= self.endpoint.queue_s - 1e-9 for job in self.waiting)
        starting = sum(worker.awake and not worker.ready for worker in self.workers)
        if late > starting * self.endpoint.at_once:
            self._wake_one()

    def _wake_one(self) -> None:
        asleep = next((worker for worker in self.workers if not worker.awake), None)
        if asleep is not None:
            self.cold_starts += 1
            self.env.process(asleep.start())
            self.most_awake = max(self.most_awake, sum(worker.awake for worker in self.workers))


class _Worker:
    """A worker that holds up to ``at_once`` jobs and puts one at a time on its GPU."""

    def __init__(self, simulation: _Simulation, *, awake: bool) -> None:
        self.simulation = simulation
        self.always_awake = awake
        self.awake_since: float | None = 0.0 if awake else None
        self.ready = awake
        self.model: int | None = 0 if awake else None
        self.held = 0
        self.gpu_free_at = 0.0
        self.rests = 0

    @property
    def awake(self) -> bool:
        return self.awake_since is not None

    def start(self) -> Process:
        """Be paid for from now on; the process passes the time of the cold start."""
        self.awake_since = self.simulation.env.now
        return self._start()

    def _start(self) -> Process:
        env, endpoint = self.simulation.env, self.simulation.endpoint
        yield env.timeout(endpoint.cold_s)
        self.ready, self.model, self.gpu_free_at = True, 0, env.now
        self.simulation.hand_out()
        if self.held == 0:
            env.process(self._rest())

    def serve(self, job: _Job) -> Process:
        """Book the GPU for a job now; the process passes its time."""
        self.held += 1
        simulation = self.simulation
        env, load, endpoint = simulation.env, simulation.load, simulation.endpoint
        begins = max(self.gpu_free_at, env.now + endpoint.handover_s)
        if self.model != job.model:
            begins += endpoint.switch_s
            self.model = job.model
        generate_s = max(0.05, simulation.random.gauss(1.0, load.spread)) * load.generate_s
        answered_at = begins + generate_s + load.deliver_s
        alone = endpoint.at_once == 1
        self.gpu_free_at = answered_at + endpoint.gap_s if alone else begins + generate_s
        simulation.busy_s += generate_s
        return self._finish(job, answered_at, self.gpu_free_at if alone else answered_at)

    def _finish(self, job: _Job, answered_at: float, over_at: float) -> Process:
        env = self.simulation.env
        yield env.timeout(answered_at - env.now)
        self.simulation.answered(job)
        yield env.timeout(over_at - answered_at)  # not from `now`, which may be past it in the last bit
        self.held -= 1
        self.simulation.hand_out()
        if self.held == 0:
            env.process(self._rest())

    def _rest(self) -> Process:
        self.rests += 1
        rest = self.rests
        yield self.simulation.env.timeout(self.simulation.endpoint.idle_s)
        if not self.always_awake and self.held == 0 and rest == self.rests:
            self.stop_paying()
            self.ready = False

    def stop_paying(self) -> None:
        if self.awake_since is not None:
            self.simulation.paid_s += self.simulation.env.now - self.awake_since
            self.awake_since = None
