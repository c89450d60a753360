"""Observers of finished jobs: the interface by which jobs are counted and traced, and what they are told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.telemetry.phases import Phases


@dataclass(frozen=True, slots=True)
class FinishedJob:
    """A job that has ended.

    Attributes:
        id: Its name.
        kind: Its kind, `unknown` where it could not be read.
        result: ``ok``, ``cancelled``, or the error's code.
        seconds: By phase, and in `total`.
        images: Pictures in its answer.
        stretches: Name, seconds since the job's beginning and duration in seconds of each stretch of a phase.
        traceparent: The caller's trace context (W3C); "" where there is none.
    """

    id: str
    kind: str
    result: str
    seconds: Mapping[str, float]
    images: int
    stretches: Sequence[tuple[str, float, float]] = ()
    traceparent: str = ""


class JobObserver(Protocol):
    """Is told of finished jobs; cheap, never raises."""

    def job(self, job: FinishedJob) -> None:
        """Take note of a finished job."""


class JobObservers:
    """Hands a finished job to several observers, or to none.

    Args:
        observers: Who is told, in this order.
    """

    def __init__(self, *observers: JobObserver) -> None:
        self._observers = observers

    def job(self, job: FinishedJob) -> None:
        """Tell each of them."""
        for observer in self._observers:
            observer.job(job)


_BATCH_KEYS = ("batchId", "batch_id", "customId", "custom_id", "batchIndex", "batch_index")
_LONGEST_KEY = 100


def batch_keys(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the platform's names for the batch that a job belongs to, and for the job in it, for the log."""
    found = {name: job[name] for name in _BATCH_KEYS if isinstance(job.get(name), (str, int))}
    return {
        name: "".join(sign for sign in str(value) if sign.isprintable())[:_LONGEST_KEY] for name, value in found.items()
    }


def finished(job: Mapping[str, Any], phases: Phases, result: str, images: int) -> FinishedJob:
    """Return what observers are told of a job; `traceparent` is its caller's, beside the input."""
    caller = job.get("traceparent")
    return FinishedJob(
        id=str(job.get("id", "")),
        kind=phases.kind,
        result=result,
        seconds=phases.seconds(),
        images=images,
        stretches=phases.stretches(),
        traceparent=caller if isinstance(caller, str) else "",
    )
