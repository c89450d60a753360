"""Jobs that kill the WebUI: known by their fingerprint, refused for a while."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from worker.webui.request.body import Request

KILLS = 2
REMEMBERED = 1000
_VARYING = frozenset({"seed", "subseed"})


def fingerprint(body: Mapping[str, Any]) -> str:
    """Return what two requests share that differ in nothing but their seeds."""
    same = {name: value for name, value in body.items() if name not in _VARYING}
    return hashlib.sha256(orjson.dumps(same, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()


class Marks(NamedTuple):
    """What a request is known by: itself, and the files that it makes the WebUI load."""

    job: str
    checkpoint: str
    vae: str


def marks(request: Request) -> Marks:
    """Return what `request` is known by."""
    wanted = request.expect
    return Marks(
        fingerprint(request.body),
        checkpoint_mark(wanted.checkpoint.filename),
        f"{wanted.vae} for {wanted.checkpoint.name}",
    )


def checkpoint_mark(filename: str) -> str:
    """Return what a checkpoint file is known by until it is replaced by another."""
    try:
        facts = os.stat(filename)  # noqa: PTH116 - every job asks, and Path takes as long again
    except OSError:
        return f"{filename} is not there"
    return f"{filename} {facts.st_size} {facts.st_mtime_ns}"


class Poison:
    """Counts by fingerprint how often a job killed the WebUI.

    Args:
        seconds: How long a kill is remembered.
        clock: Monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._kills: dict[str, list[float]] = {}

    @property
    def knows(self) -> bool:
        """Whether any job has killed the WebUI so far."""
        return bool(self._kills)

    def note(self, mark: str) -> None:
        """Remember that the job `mark` has killed the WebUI."""
        self._kills.setdefault(mark, []).append(self._clock())
        while len(self._kills) > REMEMBERED:
            self._kills.pop(next(iter(self._kills)))

    def forgive(self, marks: Iterable[str]) -> None:
        """Forget these: whatever it was, they have been seen to work after all."""
        for mark in marks:
            self._kills.pop(mark, None)

    def refused_for(self, mark: str) -> float:
        """Return for how many seconds the job `mark` is still refused, 0 when it may run."""
        now = self._clock()
        recent = [moment for moment in self._kills.get(mark, ()) if now - moment < self._seconds]
        if not recent:
            self._kills.pop(mark, None)
            return 0.0
        return self._seconds - (now - recent[-1]) if len(recent) >= KILLS else 0.0
