"""Observers of finished jobs: the interface by which jobs are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class JobObserver(Protocol):
    """Counts finished jobs; cheap, never raises."""

    def job(self, kind: str, result: str, seconds: Mapping[str, float], images: int) -> None:
        """Count a finished job.

        Args:
            kind: The job's kind, `unknown` where it could not be read.
            result: ``ok``, ``cancelled``, or the error's code.
            seconds: By phase, and in `total`.
            images: Pictures in its answer.
        """


class NullObserver:
    """Counts nothing."""

    def job(self, kind: str, result: str, seconds: Mapping[str, float], images: int) -> None:
        """Do nothing."""
