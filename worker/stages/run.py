"""What one job carries along the line."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from worker.telemetry.progress import within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.stages.streaming import PieceSink
    from worker.storage.base import StoreTarget
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
        on_piece: Who is told of its pictures one by one; None: nobody.
        holds: What is held until the job ends.
    """

    id: str
    target: StoreTarget | None
    deadline: float
    phases: Phases
    on_progress: ProgressSink
    on_piece: PieceSink | None = None
    holds: ExitStack = field(default_factory=ExitStack)

    def piece(self, number: int, counts: Sequence[int]) -> Run:
        """Return the way of one of several requests of the job, which make `counts` pictures."""
        if len(counts) == 1:
            return self
        return replace(self, on_progress=within(self.on_progress, number, counts))
