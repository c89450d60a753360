"""What a chaos run does, by its seed: the jobs, and what goes wrong before which of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.chaos.hostile import HOSTILE
from tests.chaos.kinds import HARMLESS, INVALID, KINDS, MODELS, Ask

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
)
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
    """

    id: str
    kind: str
    input: dict[str, Any]
    valid: bool = True
    asks: tuple[Ask, ...] = ()
    fault: Fault | str | None = None
    worker: int = 0
    policy: dict[str, Any] = field(default_factory=dict)

    @property
    def fault_name(self) -> str:
        """What the fault is called in the report, empty where there is none."""
        if isinstance(self.fault, dict):
            return str(self.fault["fault"])
        return self.fault or ""


def plan(seed: int, jobs: int, *, faults: float) -> list[Job]:
    """Return the jobs of a run.

    Args:
        seed: The same seed gives the same plan.
        jobs: How many.
        faults: Share of jobs before which something goes wrong.
    """
    random = Random(seed)
    # Every kind of fault comes once before any comes twice; every kind of job likewise.
    wrong: list[Fault | str] = []
    kinds: list[int] = []
    hostile: list[int] = []
    made = []
    for number in range(jobs):
        fault: Fault | str | None = None
        if random.random() < faults:
            if not wrong:
                wrong = [*WEBUI_FAULTS, *WORLD_FAULTS]
                random.shuffle(wrong)
            fault = wrong.pop()
        if not kinds:
            kinds = list(range(len(KINDS)))
            random.shuffle(kinds)
        name = f"chaos-{seed}-{number}"
        if fault is None and random.random() < HOSTILE_SHARE:
            if not hostile:
                hostile = list(range(len(HOSTILE)))
                random.shuffle(hostile)
            made.append(Job(name, "hostile", HOSTILE[hostile.pop()], valid=False, worker=random.randrange(1000)))
            continue
        made.append(_job(random, name, fault, kinds))
    return made


def _job(random: Random, name: str, fault: Fault | str | None, kinds: list[int]) -> Job:
    worker = random.randrange(1000)
    if random.random() < 0.05 and not isinstance(fault, str):
        return Job(name, "invalid", random.choice(INVALID), valid=False, fault=_at(fault, "txt2img"), worker=worker)
    base: dict[str, Any] = {
        **HARMLESS,
        "prompt": f"a {random.choice(('cat', 'dog', '(house:1.3)', 'boat'))}, {name}",
        "seed": random.randrange(1000),
        "checkpoint": random.choice(MODELS),
    }
    if isinstance(fault, str) and fault in BROKEN_MODELS:
        broken = {**base, "checkpoint": BROKEN_MODELS[fault]}
        return Job(name, "broken_model", broken, valid=False, fault=fault, worker=worker)
    if fault in ("cancel", "deadline", "platform-deadline"):
        base["steps"] = 60
    kind = KINDS[kinds.pop()]
    written = kind(random, base)
    stored = {"output": {"delivery": "s3"}} if random.random() < 0.35 else {}
    asked = {**stored, **written.input}
    if fault == "deadline":
        asked["timeout_s"] = 1
    return Job(
        name,
        kind.__name__.strip("_"),
        asked,
        asks=written.asks,
        fault=_at(fault, written.asks[0].path),
        worker=worker,
        policy={"executionTimeout": 1500} if fault == "platform-deadline" else {},
    )


def _at(fault: Fault | str | None, path: str) -> Fault | str | None:
    return {**fault, "path": path} if isinstance(fault, dict) and fault.get("path") == ANY else fault
