"""Faults that can be switched on: at start by `STANDIN_FAULTS`, at run time by `POST /standin/faults`."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

AT_START = {
    "boot-exit": "prints an error and exits with `code` (1) after `seconds` (0)",
    "no-port": "never opens its port",
    "never-loads": "opens its port, never has a model",
    "slow-load": "takes `seconds` (5) to load a checkpoint",
    "load-fails": "the first load raises `error` with `message`",
    "other-model": "loads another checkpoint than the one asked for",
}
AT_WORK = {
    "die": "kills itself (SIGKILL) at sampling step `step` (1), or exits with `code`",
    "hang": "stops at sampling step `step` (1), deaf to interrupt, until faults are reset",
    "slow-step": "every step takes `seconds` (0.5)",
    "load-oom": "no memory for the next change of checkpoint: a 500, and the old one stays half taken apart",
    "starved-lora": "no memory for a LoRA's layer: a line in the log, a 200, and the LoRA has no effect until restart",
    "oom": "out of memory for jobs of more than `pixels` (0) pixels per batch",
    "cuda-error": "a CUDA error, and one for every later job until restart",
    "nan": "NansException at the end of sampling",
    "error": "a 500 of class `error` (RuntimeError) with `message`",
    "black": "a black picture",
    "wrong-size": "a picture 8 pixels narrower",
    "wrong-seed": "the picture and info of the next seed",
    "missing-picture": "one picture too few",
    "extra-picture": "one picture too many",
    "grid-first": "a grid before the pictures",
    "wrong-model": "the picture and info of another model, `name` (Other)",
    "wrong-sampler": "the picture and info of another sampler, `name` (DPM++ 2M)",
    "wrong-scheduler": "the picture and info of another scheduler, `name` (Karras)",
    "wrong-clip-skip": "the picture and info of another clip skip, `value` (3)",
    "wrong-vae": "the picture and info of another VAE, `name` (other.safetensors)",
    "wrong-parameter": "another value `value` of the parameter `name` (Steps) in info and infotexts",
    "wrong-notes": "another value `value` of the parameter `name` (Steps) in the picture's own notes alone",
    "wrong-prompt": "another prompt, `text`, as it was read",
    "wrong-negative": "another negative prompt, `text`, as it was read",
    "lost-style": "the styles left out of the prompts",
    "lost-tag": "the first tag of a LoRA lost from the prompt",
    "lost-parameter": "no word of the parameter `name` (Refiner)",
    "lost-map": "a ControlNet unit that did not run: its map is missing",
    "previous-answer": "the whole answer to the request before",
    "white": "a white picture",
    "noise": "a picture of nothing but noise",
    "no-loras": "LoRAs have no effect",
    "truncated-picture": "a picture whose file ends in the middle",
    "broken-base64": "a picture that is not base64",
    "memory-growth": "`mb` (50) megabytes more after each job",
}
ON_THE_WIRE = {
    "http-error": "answers `status` (500) with a plain text and does no work",
    "drop-before": "closes the connection before any work",
    "drop-after": "closes the connection after the work",
    "cut-body": "closes the connection in the middle of the answer",
    "slow-body": "sends the answer over `seconds` (2)",
    "not-json": "answers 200 with HTML",
    "empty": "answers 200 with nothing",
    "late": "answers `seconds` (1) later",
}
CATALOG = AT_START | AT_WORK | ON_THE_WIRE
"""Every fault by name, with its parameters and their defaults."""


@dataclass(slots=True)
class Fault:
    """A fault that is on for the next `count` uses (-1: for ever) once `after` have passed, with parameters.

    `path`: only there; a parameter `prompt`: only for jobs with these words in their prompt.
    """

    name: str
    count: int = 1
    path: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    after: int = 0

    def number(self, name: str, default: float) -> float:
        """A parameter as a number."""
        return float(self.parameters.get(name, default))

    def text(self, name: str, default: str) -> str:
        """A parameter as text."""
        return str(self.parameters.get(name, default))


class Faults:
    """The faults that are on; used up as they happen."""

    def __init__(self, at_start: str = "") -> None:
        self._lock = threading.Lock()
        self._on: list[Fault] = []
        self.released = threading.Event()
        """Set by reset; what hangs waits for it."""
        self._job = threading.local()
        self._previous: Any = None
        for fault in parse(at_start):
            self.add(fault)

    def add(self, fault: Fault) -> None:
        """Switches a fault on."""
        with self._lock:
            self._on.append(fault)

    def reset(self) -> None:
        """Switches everything off and lets go of what hangs."""
        with self._lock:
            self._on.clear()
            self.released.set()
            self.released = threading.Event()

    def answer(self, answer: Any) -> Any:
        """The answer as it is sent: the one before, where a fault says so."""
        before, self._previous = self._previous, answer
        return before if before is not None and self.take("previous-answer") else answer

    def work_on(self, prompt: str) -> None:
        """Takes note of the job that the calling thread works on."""
        self._job.prompt = prompt

    def take(self, name: str, *, path: str = "", where: bool = True) -> Fault | None:
        """The fault of this name if it is on (for this path) and its condition holds, used up by one; else None."""
        with self._lock:
            for fault in self._on:
                if fault.name == name and where and path.endswith(fault.path) and self._is_meant(fault):
                    if fault.after > 0:
                        fault.after -= 1
                        continue
                    if fault.count > 0:
                        fault.count -= 1
                        if fault.count == 0:
                            self._on.remove(fault)
                    return fault
        return None

    def peek(self, name: str) -> Fault | None:
        """The fault of this name if it is on, not used up."""
        with self._lock:
            return next((fault for fault in self._on if fault.name == name and self._is_meant(fault)), None)

    def _is_meant(self, fault: Fault) -> bool:
        return fault.text("prompt", "") in getattr(self._job, "prompt", "")

    def listed(self) -> list[dict[str, Any]]:
        """Return the faults that are on, as JSON."""
        with self._lock:
            return [{"fault": f.name, "count": f.count, "path": f.path, **f.parameters} for f in self._on]


def from_json(data: Any) -> Fault:
    """A fault from `{"fault": name, "count": n, "path": …, "after": n, …parameters}`; raises ValueError."""
    if not isinstance(data, dict) or data.get("fault") not in CATALOG:
        raise ValueError(f"unknown fault {data!r}; there are: {', '.join(sorted(CATALOG))}")
    rest = {key: value for key, value in data.items() if key not in ("fault", "count", "path", "after")}
    return Fault(
        str(data["fault"]), int(data.get("count", 1)), str(data.get("path", "")), rest, int(data.get("after", 0))
    )


def parse(text: str) -> list[Fault]:
    """Faults from JSON (an object or a list) or `name[:key=value…],…`; raises ValueError."""
    text = text.strip()
    if text[:1] in ("[", "{"):
        data = json.loads(text)
        return [from_json(item) for item in (data if isinstance(data, list) else [data])]
    faults = []
    for part in filter(None, (item.strip() for item in text.split(","))):
        name, *settings = part.split(":")
        if not all("=" in setting for setting in settings):
            raise ValueError(f"a fault is written name:key=value:key=value, or as JSON, not {part!r}")
        faults.append(from_json({"fault": name, **dict(setting.split("=", 1) for setting in settings)}))
    return faults
