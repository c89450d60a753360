"""Failure history of one WebUI: requests that are blocked for having crashed it, or have to start smaller."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from worker.errors import ModelDamaged, NanImage, OutOfMemory, WebUICrashed
from worker.recovery.failure_kinds import FailureKind
from worker.recovery.oom import LearnedLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from worker.errors import WorkerError
    from worker.recovery.failure_kinds import Failure
    from worker.recovery.retry_policy import Decision, Tries
    from worker.webui.request.body import Request

CRASHES = 2
"""Crashes after which a request is blocked."""
REMEMBERED = 1000
LONGEST_REASON = 300
_VARYING = frozenset({"seed", "subseed"})


class Fingerprint(NamedTuple):
    """The identity of a request for the blocklist: itself, and the files that it makes the WebUI load."""

    job: str
    checkpoint: str
    vae: str


def fingerprint(request: Request) -> Fingerprint:
    """Return the fingerprint of `request`. Blocking: it looks at the checkpoint's file."""
    wanted = request.expect
    return Fingerprint(
        body_digest(request.body),
        _file_stamp(wanted.checkpoint.filename),
        f"{wanted.vae} for {wanted.checkpoint.name}",
    )


def body_digest(body: Mapping[str, Any]) -> str:
    """Return a digest that is the same for requests that differ in nothing but their seeds."""
    same = {name: value for name, value in body.items() if name not in _VARYING}
    return hashlib.sha256(orjson.dumps(same, option=orjson.OPT_SORT_KEYS, default=str)).hexdigest()


def _file_stamp(filename: str) -> str:
    """Return a text that stays the same until a checkpoint file is replaced by another."""
    try:
        facts = Path(filename).stat()
    except (OSError, ValueError):
        return f"{filename} is not there"
    return f"{filename} {facts.st_size} {facts.st_mtime_ns}"


class FailureHistory:
    """The failures of one worker and its WebUI; used in the event loop only.

    Args:
        blocked_s: How long a crash counts against the request that caused it, seconds.
        clock: Monotonic seconds.
    """

    def __init__(self, blocked_s: float, clock: Callable[[], float]) -> None:
        self._limits = LearnedLimits()
        self._blocklist = CrashBlocklist(blocked_s, clock)
        self._unloadable: dict[str, str] = {}
        """The WebUI's words on checkpoints that it can't load, by fingerprint: until the file is another one."""

    def plan(self, request: Request, mark: Fingerprint) -> Request:
        """Return the request as it is likely to succeed.

        Raises:
            ModelDamaged: the WebUI can't load its checkpoint.
            WebUICrashed: one like it has crashed the WebUI twice.
        """
        said = self._unloadable.get(mark.checkpoint)
        if said is not None:
            raise unloadable(request, said)
        seconds = max(self._blocklist.blocked_for(each) for each in mark)
        if seconds > 0:
            raise WebUICrashed(
                f"a job like this one has killed the WebUI twice; it is refused for another {seconds:.0f} s",
                hint="Change the job, or its models.",
                details={"poison": True, "refused_for_s": round(seconds, 1)},
            )
        return self._limits.plan(request)

    def succeeded(self, mark: Fingerprint, sent: Request, tries: Tries) -> None:
        """Record that the request of this fingerprint was answered rightly, `sent` being its last form."""
        self._limits.made(sent, after_nan=NanImage.code in tries.failures)
        self._blocklist.forgive(mark)

    def failed(
        self, failure: Failure, mark: Fingerprint, sent: Request, decision: Decision, *, started_with: bool
    ) -> None:
        """Record a failure and the decision on it; `started_with`: the WebUI started with the request's checkpoint."""
        if decision.killed:
            self._blocklist.note(mark.job)
        to_blame = failure.kind is FailureKind.CHECKPOINT_LOAD and not started_with and _loads_one_checkpoint(sent)
        if to_blame and failure.recurs:
            self._remember(mark.checkpoint, failure)
        elif to_blame:
            self._blocklist.note(mark.checkpoint)
        elif failure.kind is FailureKind.VAE_LOAD:
            self._blocklist.note(mark.vae)
        elif failure.kind is FailureKind.OUT_OF_MEMORY:
            self._limits.too_large(sent)

    def final_error(self, failure: Failure, sent: Request, tries: Tries) -> WorkerError:
        """Return the last error as the client gets it: with the earlier failures, and a request that would fit."""
        loads = failure.kind in {FailureKind.CHECKPOINT_LOAD, FailureKind.VAE_LOAD}
        error = unloadable(sent, failure.said) if failure.recurs and loads else failure.error
        if tries.failures:
            error.details["failed_before"] = dict(tries.failures)
        if isinstance(error, OutOfMemory):
            error.details["would_fit"] = dict(self._limits.fitting(sent))
        return error

    def _remember(self, mark: str, failure: Failure) -> None:
        self._unloadable[mark] = failure.said
        while len(self._unloadable) > REMEMBERED:
            self._unloadable.pop(next(iter(self._unloadable)))


def _loads_one_checkpoint(request: Request) -> bool:
    """Return whether no other checkpoint than the job's own can be the one that was not loaded."""
    others = ("refiner_checkpoint", "hr_checkpoint_name", "script_name")
    return not any(request.body.get(name) for name in others)


def unloadable(request: Request, said: str) -> ModelDamaged:
    """Return the error for a model file that the WebUI can't load."""
    wanted = request.expect
    reason = next((line.strip() for line in said.splitlines() if line.strip()), "")[:LONGEST_REASON]
    return ModelDamaged(
        f"the WebUI can't load what the job needs (checkpoint {wanted.checkpoint.name!r}, VAE {wanted.vae!r}): "
        f"{reason}",
        hint="Name another file: A1111 may not know its architecture, or need a .yaml beside it.",
        details={"checkpoint": wanted.checkpoint.name, "vae": wanted.vae},
    )


class CrashBlocklist:
    """Counts crashes of the WebUI by fingerprint.

    Args:
        seconds: How long a crash is remembered.
        clock: Monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._crashes: dict[str, list[float]] = {}

    def note(self, mark: str) -> None:
        """Record a crash that `mark` has caused."""
        self._crashes.setdefault(mark, []).append(self._clock())
        while len(self._crashes) > REMEMBERED:
            self._crashes.pop(next(iter(self._crashes)))

    def forgive(self, marks: Iterable[str]) -> None:
        """Forget the crashes of `marks`, which have been seen to work after all."""
        for mark in marks:
            self._crashes.pop(mark, None)

    def blocked_for(self, mark: str) -> float:
        """Return for how many more seconds `mark` is refused, 0 when it may run."""
        if mark not in self._crashes:
            return 0.0
        now = self._clock()
        recent = [moment for moment in self._crashes[mark] if now - moment < self._seconds]
        if not recent:
            self._crashes.pop(mark, None)
            return 0.0
        return self._seconds - (now - recent[-1]) if len(recent) >= CRASHES else 0.0
