"""Retry policy for failed generations: a pure function of the failure, the earlier failures and the time left."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from worker.recovery import oom
from worker.recovery.failure_kinds import FailureKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.recovery.failure_kinds import Failure
    from worker.webui.request.body import Request

SHORTEST_ATTEMPT_S = 1.0
"""With less time left no further attempt is begun."""
_ASKED_AGAIN = frozenset(
    {
        FailureKind.CRASH,
        FailureKind.CONNECTION_LOST,
        FailureKind.OUT_OF_MEMORY,
        FailureKind.WRONG_RESULT,
        FailureKind.GARBLED,
        FailureKind.INTERRUPTED,
        FailureKind.CHECKPOINT_LOAD,
        FailureKind.VAE_LOAD,
        FailureKind.BROKEN_PROCESS,
    }
)


class Remedy(Enum):
    """The treatment that the WebUI needs before anything else is sent to it."""

    NOTHING = "nothing"
    INTERRUPT = "interrupt"
    """It may still be working on a request whose answer was lost: interrupt it until it is idle."""
    UNLOAD = "unload"
    """Free its caches: the model leaves the GPU and comes back."""
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Tries:
    """The failures of a request so far.

    Attributes:
        most: How often it may be run again after one kind of failure (out of memory counts its own way).
        failures: Failures by the error's code.
    """

    most: int = 1
    failures: Mapping[str, int] = field(default_factory=dict)

    def after(self, failure: Failure) -> Tries:
        """Return the tries with one more failure."""
        return replace(self, failures={**self.failures, failure.error.code: self.count(failure) + 1})

    def count(self, failure: Failure) -> int:
        """Return how often this kind of failure has happened."""
        return self.failures.get(failure.error.code, 0)


@dataclass(frozen=True, slots=True)
class Decision:
    """The consequences of a failure.

    Attributes:
        again: The request to send once more; None: the job fails with the error.
        remedy: The WebUI's treatment, whether the job goes on or not.
        killed: The request has cost a run of the WebUI: it counts towards being blocked.
        counts: Whether the failure counts against how often the request may be run again.
        note: A sentence for the answer's warnings when the job succeeds after all.
    """

    again: Request | None
    remedy: Remedy = Remedy.NOTHING
    killed: bool = False
    counts: bool = True
    note: str | None = None


def decide(failure: Failure, request: Request, tries: Tries, left_s: float) -> Decision:
    """Return what follows from the failure of `request`.

    Args:
        failure: Classified.
        request: As it was sent.
        tries: Earlier failures, this one not counted.
        left_s: Seconds until the job's deadline.
    """
    count = tries.count(failure)
    decision = _decision(failure, request, again=request if count < tries.most else None, repeated=count > 0)
    return decision if left_s > SHORTEST_ATTEMPT_S else replace(decision, again=None)


def retry_bystander(request: Request, left_s: float) -> Decision:
    """Return the decision for a request that failed because another one broke the process: an uncounted retry."""
    note = "The WebUI had to be restarted because of another job; this is from a second run."
    return Decision(request if left_s > SHORTEST_ATTEMPT_S else None, counts=False, note=note)


def may_be_asked_again(failure: Failure) -> bool:
    """Return whether a call that makes no picture by diffusion is worth a second attempt."""
    return failure.kind in _ASKED_AGAIN


def _decision(failure: Failure, request: Request, *, again: Request | None, repeated: bool) -> Decision:  # noqa: PLR0911 - one line per row
    kind = failure.kind
    if kind is FailureKind.CRASH:
        return Decision(again, killed=True, note="The WebUI crashed; this is from a second run.")
    if kind is FailureKind.STALL:
        return Decision(again, killed=True, note="The WebUI hung; this is from a second run.")
    if failure.breaks_process:
        note = "The WebUI had to be restarted; this is from a second run."
        return Decision(None if failure.recurs else again, Remedy.RESTART, killed=True, note=note)
    if kind is FailureKind.OUT_OF_MEMORY:
        return _smaller(request, None if repeated else again)
    if kind is FailureKind.NAN:
        return _more_precise(again)
    if kind in (FailureKind.WRONG_RESULT, FailureKind.GARBLED):
        remedy = Remedy.RESTART if repeated else Remedy.NOTHING
        return Decision(again, remedy, note="The WebUI's first answer was wrong; this is from a second run.")
    if kind is FailureKind.INTERRUPTED:
        return Decision(again, note="The WebUI's first answer was wrong; this is from a second run.")
    if kind is FailureKind.CONNECTION_LOST:
        remedy = Remedy.RESTART if repeated else Remedy.INTERRUPT
        return Decision(again, remedy, note="The WebUI's first answer was lost; this is from a second run.")
    return Decision(None)


def _more_precise(again: Request | None) -> Decision:
    if again is None:
        return Decision(None)
    if oom.is_set(again, oom.UPCAST):  # known to need it, and it has helped before
        return Decision(again, note="The model made NaNs; this is from a second run.")
    note = "The model made NaNs; this was computed in full precision."
    return Decision(oom.with_options(again, oom.UPCAST), note=note)


def _smaller(request: Request, same: Request | None) -> Decision:
    """Return the next smaller request, else `same`: a request planned small from the start may find more room freed.

    A batch of several start pictures is not repeated: who sent it asks for fewer of them at once.
    """
    if not oom.is_divisible(request):
        return Decision(None, Remedy.UNLOAD)
    again = oom.smaller(request)
    if again is None:
        return Decision(same, Remedy.UNLOAD, note="The GPU's memory was too small at first; this is from a second run.")
    if oom.batch(again) < oom.batch(request):
        note = f"The GPU's memory holds {oom.batch(again)} of these pictures at once; the seeds are the same."
    else:
        note = "Made with memory-saving options, since the GPU's memory was too small without."
    return Decision(again, Remedy.UNLOAD, note=note)
