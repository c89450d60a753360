"""What a chaos run does, by its seed: the jobs, and what goes wrong before which of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from tests.chaos.asks import FIRST, HARMLESS, MODELS, Ask, Draw, Written
from tests.chaos.hostile import HOSTILE
from tests.chaos.kinds import INVALID, KINDS
from tests.chaos.studio_kinds import STUDIO_KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")
ANY = "*"
"""In a fault: the path that the job uses which it comes with."""
Fault = dict[str, Any]

WEBUI_FAULTS: tuple[Fault, ...] = (
    {"fault": "die", "step": 2},
    {"fault": "die", "step": 1, "count": 2},
    {"fault": "hang", "step": 2},
    {"fault": "slow-step", "seconds": 0.1},
    {"fault": "oom"},
    {"fault": "oom", "count": 2},
    {"fault": "load-oom"},
    {"fault": "starved-lora"},
    {"fault": "cuda-error"},
    {"fault": "nan"},
    {"fault": "black"},
    {"fault": "wrong-size"},
    {"fault": "wrong-seed"},
    {"fault": "missing-picture"},
    {"fault": "extra-picture"},
    {"fault": "grid-first"},
    {"fault": "wrong-model", "name": "Other"},
    {"fault": "wrong-sampler"},
    {"fault": "wrong-scheduler"},
    {"fault": "wrong-clip-skip"},
    {"fault": "wrong-vae"},
    {"fault": "truncated-picture"},
    {"fault": "broken-base64"},
    {"fault": "http-error", "path": ANY, "status": 503},
    {"fault": "cut-body", "path": ANY},
    {"fault": "drop-before", "path": ANY},
    {"fault": "drop-after", "path": ANY},
    {"fault": "not-json", "path": ANY},
    {"fault": "empty", "path": ANY},
    {"fault": "late", "path": ANY, "seconds": 0.5},
    {"fault": "slow-body", "path": ANY, "seconds": 0.5},
    {"fault": "not-json", "path": "progress", "count": 5},
    {"fault": "late", "path": "interrupt", "seconds": 0.5},
    {"fault": "error", "error": "RuntimeError", "message": "a tensor has the wrong shape"},
    {"fault": "memory-growth", "mb": 5},
    {"fault": "memory-growth", "mb": 10, "count": 30},
)
WORLD_FAULTS = (
    # the WebUI's process
    *("kill-webui", "stop-webui", "interrupt-webui"),
    # the worker
    *("kill-worker", "end-worker", "freeze-worker"),
    # a worker's start
    *("boot-exit", "boot-no-port", "boot-other-model", "boot-no-volume", "boot-no-gpu"),
    *("stop-boot", "end-boot", "kill-boot", "kill-restart", "end-recovering"),
    # the platform
    *("lose-result", "cut-result", "break-platform", "cancel", "deadline", "platform-deadline"),
    # the pictures' store
    *("busy-store", "deny-store", "slow-store", "damage-store", "cut-store", "mute-store"),
    *("forget-store", "hide-store"),
    # the volume, and where models come from
    *("remove-model", "tear-model", "unfit-model", "fill-volume", "break-depot", "cut-depot"),
    # the cache of results
    *("damage-cache", "clear-cache"),
)
STRIKES = ("kill-webui", "stop-webui", "kill-worker", "freeze-worker")
"""What strikes jobs that are made of other jobs while they run, on the worker that has taken them."""
STRUCK_SHARE, LATEST_STRIKE_S = 0.75, 0.8
"""Of those jobs without a fault; so long after the taking at most."""
NOT_CACHED_SHARE = 0.5
"""Of the jobs that are handed out once: those whose pictures the cache does not keep, so that a repeat makes them."""
STORED_SHARE = 0.35
"""Of the jobs that do not say it themselves: those whose pictures go to the store."""
HOSTILE_SHARE = 0.12
"""Of the jobs without a fault: those of a client that means harm."""
BROKEN_MODELS = {"tear-model": "Torn_v1", "unfit-model": "Unfit_v1"}
"""Checkpoints that the world breaks, for the job that comes with it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job and what it should come to.

    Attributes:
        kind: Its kind's name.
        valid: It deserves its pictures; else a typed error.
        asks: What makes these pictures.
        fault: What is done before it is offered; None: nothing.
        worker: To which worker, as a number that is taken modulo those that live.
        policy: The platform's, beside the input.
        most: So many of `asks` count at most: the first whose pictures are accepted.
        draw: What its pictures draw by their seed.
        after: The job that it comes with.
        waits: It is offered when that one is over, not beside it.
        is_repeat: It asks for the same pictures as that one.
        strike: What happens while it runs to the worker that has it.
        strike_s: So long after the taking.
    """

    id: str
    kind: str
    input: dict[str, Any]
    valid: bool = True
    asks: tuple[Ask, ...] = ()
    fault: Fault | str | None = None
    worker: int = 0
    policy: dict[str, Any] = field(default_factory=dict)
    most: int | None = None
    draw: Draw | None = None
    after: str | None = None
    waits: bool = True
    is_repeat: bool = False
    strike: str | None = None
    strike_s: float = 0.0

    @property
    def fault_name(self) -> str:
        """What the fault is called in the report, empty where there is none."""
        if isinstance(self.fault, dict):
            return str(self.fault["fault"])
        return self.fault or self.strike or ""

    @property
    def harm(self) -> str:
        """What goes wrong before it or with it, for messages."""
        return f"{self.fault or 'nothing'}{f' and {self.strike} midway' if self.strike else ''}"


def plan(seed: int, jobs: int, *, faults: float) -> list[Job]:
    """Return the jobs of a run.

    Args:
        seed: The same seed gives the same plan.
        jobs: How many.
        faults: Share of jobs before which something goes wrong.
    """
    random = Random(seed)
    # Every kind of fault comes once before any comes twice; every kind of job likewise.
    every: list[Fault | str] = [*WEBUI_FAULTS, *WORLD_FAULTS]
    wrong: list[Fault | str] = []
    kinds: list[int] = []
    hostile: list[int] = []
    strikes: dict[int, list[str]] = {}
    made: list[Job] = []
    while len(made) < jobs:
        fault: Fault | str | None = None
        if random.random() < faults:
            fault = _next(random, wrong, every)
        name = f"chaos-{seed}-{len(made)}"
        worker = random.randrange(1000)
        if fault is None and random.random() < HOSTILE_SHARE:
            number = _next(random, hostile, range(len(HOSTILE)))
            made.append(Job(name, "hostile", HOSTILE[number], valid=False, worker=worker))
            continue
        if random.random() < 0.05 and not isinstance(fault, str):
            fault = _at(fault, "txt2img")
            made.append(Job(name, "invalid", random.choice(INVALID), valid=False, fault=fault, worker=worker))
            continue
        base: dict[str, Any] = {
            **HARMLESS,
            "prompt": f"a {random.choice(('cat', 'dog', '(house:1.3)', 'boat'))}, {name}",
            "seed": random.randrange(1000),
            "checkpoint": random.choice(MODELS),
        }
        if isinstance(fault, str) and fault in BROKEN_MODELS:
            broken = {**base, "checkpoint": BROKEN_MODELS[fault]}
            made.append(Job(name, "broken_model", broken, valid=False, fault=fault, worker=worker))
            continue
        if fault in ("cancel", "deadline", "platform-deadline"):
            base["steps"] = 60
        number = _next(random, kinds, range(len(KINDS)))
        kind = KINDS[number]
        one_or_two = _jobs(random, name, kind.__name__.strip("_"), kind(random, base))
        if fault is not None:
            one_or_two[0] = _with_fault(one_or_two[0], fault, worker)
        elif faults and kind in STUDIO_KINDS and random.random() < STRUCK_SHARE:
            struck = random.randrange(len(one_or_two))
            strike = _next(random, strikes.setdefault(number, []), STRIKES)
            after_s = random.uniform(0.0, LATEST_STRIKE_S)
            one_or_two[struck] = replace(one_or_two[struck], strike=strike, strike_s=after_s)
        made += one_or_two
    return made[:jobs]


def part(jobs: list[Job], first: int, last: int | None) -> list[Job]:
    """Return those jobs of a plan from `first` to `last`, and those that they come with."""
    wanted = jobs[first:] if last is None else jobs[first : last + 1]
    needed = {job.after for job in wanted} | {job.id for job in wanted}
    return [job for job in jobs if job.id in needed]


def _next(random: Random, left: list[T], everything: Iterable[T]) -> T:
    """Return one of `everything` by chance; each comes once before any comes twice: `left` are those to come."""
    if not left:
        left += everything
        random.shuffle(left)
    return left.pop()


def _jobs(random: Random, name: str, kind: str, written: Written) -> list[Job]:
    """Return what a client sends: one job, or two of which the second has the next number."""
    stored = {"output": {"delivery": "s3"}} if random.random() < STORED_SHARE else {}
    cache = {"cache": "off"} if random.random() < NOT_CACHED_SHARE else {}
    asked = {**stored, **cache, **written.input}
    first = Job(name, kind, asked, asks=written.asks, most=written.most, draw=written.draw)
    if written.second is None:
        return [first]
    then = written.second
    asked = {field: name if value == FIRST else value for field, value in {**stored, **then.input}.items()}
    beginning, _, number = name.rpartition("-")
    second = Job(
        f"{beginning}-{int(number) + 1}",
        f"{kind}_then",
        asked,
        asks=then.asks,
        most=then.most,
        draw=then.draw,
        after=name,
        waits=written.waits,
        is_repeat=then.asks == written.asks,
    )
    return [first, second]


def _with_fault(job: Job, fault: Fault | str, worker: int) -> Job:
    """Return a job before which something goes wrong, with what the job itself has to say for that."""
    asked = {**job.input, "timeout_s": 1} if fault == "deadline" else job.input
    policy = {"executionTimeout": 1500} if fault == "platform-deadline" else {}
    return replace(job, input=asked, policy=policy, fault=_at(fault, job.asks[0].path), worker=worker)


def _at(fault: Fault | str | None, path: str) -> Fault | str | None:
    return {**fault, "path": path} if isinstance(fault, dict) and fault.get("path") == ANY else fault
