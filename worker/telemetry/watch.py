"""What is told about every job to whoever counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


class Watch(Protocol):
    """Counts jobs; cheap, never raises."""

    def job(self, kind: str, result: str, seconds: Mapping[str, float], images: int) -> None:
        """A job has ended.

        Args:
            kind: What it was, `unknown` where it could not be read.
            result: ``ok``, ``cancelled``, or the error's code.
            seconds: By phase, and in `total`.
            images: Pictures in its answer.
        """


class Nobody:
    """Counts nothing."""

    def job(self, kind: str, result: str, seconds: Mapping[str, float], images: int) -> None:
        """Do nothing."""
