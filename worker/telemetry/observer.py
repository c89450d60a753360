"""Observers of finished jobs: the interface by which jobs are counted and traced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
