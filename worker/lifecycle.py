"""The worker's lifecycle as a pure state machine.

    starting ─→ ready ⇄ busy
       │          ↓ ↑     ↓ ↑
       │        recovering        any of them ─→ draining
       ↓            ↓                               ↓
     failed      failed                          stopped

The state follows from the facts in `WorkerState`; `WorkerState.after` returns the facts after an event.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class State(str, Enum):
    """The state of a worker."""

    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    RECOVERING = "recovering"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class Event(str, Enum):
    """An event in the life of a worker."""

    UP = "up"
    """The WebUI has proven that it works."""
    LOST = "lost"
    """The WebUI is gone or no longer trusted."""
    BEGUN = "begun"
    """A job has got the GPU."""
    ENDED = "ended"
    """A job has given it back."""
    DRAIN = "drain"
    """No more jobs are taken."""
    GIVEN_UP = "given up"
    """The WebUI will not come back."""
    CLOSED = "closed"
    """The worker was closed."""


OVER = frozenset({State.STOPPED, State.FAILED})

MOVES: dict[State, frozenset[State]] = {
    State.STARTING: frozenset({State.READY, State.BUSY, State.DRAINING, State.FAILED, State.STOPPED}),
    State.READY: frozenset({State.BUSY, State.RECOVERING, State.DRAINING, State.FAILED, State.STOPPED}),
    State.BUSY: frozenset({State.READY, State.RECOVERING, State.DRAINING, State.FAILED, State.STOPPED}),
    State.RECOVERING: frozenset({State.READY, State.BUSY, State.DRAINING, State.FAILED, State.STOPPED}),
    State.DRAINING: frozenset({State.FAILED, State.STOPPED}),
    State.STOPPED: frozenset(),
    State.FAILED: frozenset(),
}
"""Successors of each state; staying is always allowed."""


class ImpossibleEventError(ValueError):
    """An event that is impossible in this state: a defect of the caller."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """The facts that determine a worker's state.

    Attributes:
        up: The WebUI works.
        was_up: It has worked before.
        jobs: Number of jobs that have the GPU now.
        draining: No more jobs are taken.
        over: The final state, None while the worker lives.
    """

    up: bool = False
    was_up: bool = False
    jobs: int = 0
    draining: bool = False
    over: State | None = None

    @property
    def state(self) -> State:
        """The state that follows from the facts."""
        if self.over is not None:
            return self.over
        if self.draining:
            return State.DRAINING
        if not self.up:
            return State.RECOVERING if self.was_up else State.STARTING
        return State.BUSY if self.jobs else State.READY

    def after(self, event: Event) -> WorkerState:  # noqa: PLR0911 - one line per event
        """Return the facts after `event`; a final state never changes.

        Raises:
            ImpossibleEventError: `event` can't happen now.
        """
        if self.over is not None:
            return self
        if event is Event.UP and not self.up:
            return replace(self, up=True, was_up=True)
        if event is Event.LOST and self.up:
            return replace(self, up=False)
        if event is Event.BEGUN:
            return replace(self, jobs=self.jobs + 1)
        if event is Event.ENDED and self.jobs:
            return replace(self, jobs=self.jobs - 1)
        if event is Event.DRAIN:
            return replace(self, draining=True)
        if event is Event.GIVEN_UP and not self.up:
            return replace(self, over=State.FAILED)
        if event is Event.CLOSED:
            return replace(self, over=State.STOPPED, up=False)
        raise ImpossibleEventError(f"{event.value} can't happen to {self}")
