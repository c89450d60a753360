"""What one job carries along the line."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.delivery.target import S3Target
    from worker.telemetry.phases import Phases
    from worker.telemetry.progress import ProgressSink


@dataclass(frozen=True, slots=True)
class Run:
    """One job on its way.

    Attributes:
        id: The platform's.
        target: The store that the job brought along.
        deadline: On the monotonic clock.
        phases: Where its time goes.
        on_progress: Who is told how far it is.
        holds: What is held until the job ends.
    """

    id: str
    target: S3Target | None
    deadline: float
    phases: Phases
    on_progress: ProgressSink
    holds: ExitStack = field(default_factory=ExitStack)
