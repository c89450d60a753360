"""A local run of one job: its progress, and the lines that a person reads at its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.telemetry.progress import Progress, ProgressSink


def _untold(_: Progress) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class LocalRun:
    """One job of a local run.

    Attributes:
        on_progress: Told of its progress.
        lines: What a person is told of its end; empty until then.
    """

    on_progress: ProgressSink = _untold
    lines: list[str] = field(default_factory=list)
