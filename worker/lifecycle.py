"""The life of a worker as a state machine: pure.

    starting ─→ ready ⇄ busy
       │          ↓ ↑     ↓ ↑
       │        recovering        any of them ─→ draining
       ↓            ↓                               ↓
     failed      failed                          stopped

What is known of a life are four facts; its state follows from them. `Life.after` says what an event makes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class State(str, Enum):
    """What a worker is doing."""

    STARTING = "starting"
    READY = "ready"
    BUSY = "busy"
    RECOVERING = "recovering"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class Event(str, Enum):
    """What happens to a worker."""

    UP = "up"
    """The WebUI has proven that it works."""
    LOST = "lost"
    """The WebUI is gone, or can't be trusted any more."""
    BEGUN = "begun"
    """A job has got the GPU."""
    ENDED = "ended"
    """A job has given it back."""
    DRAIN = "drain"
    """No more jobs are taken."""
    GIVEN_UP = "given up"
    """The WebUI will not come back."""
    CLOSED = "closed"
    """The end."""


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
"""Which state may follow which; staying is always allowed."""


class ImpossibleEventError(ValueError):
    """An event that can't happen to this life: a defect of whoever tells it."""


@dataclass(frozen=True, slots=True)
class Life:
    """What is known of a worker's life.

    Attributes:
        up: The WebUI works.
        was_up: It has worked before.
        jobs: That have the GPU now.
        draining: No more jobs are taken.
        over: How it ended, None while it lasts.
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

    def after(self, event: Event) -> Life:  # noqa: PLR0911 - one line per event
        """Return the life after `event`; nothing changes what is over.

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
            return self._with(self.jobs + 1)
        if event is Event.ENDED and self.jobs:
            return self._with(self.jobs - 1)
        if event is Event.DRAIN:
            return replace(self, draining=True)
        if event is Event.GIVEN_UP and not self.up:
            return replace(self, over=State.FAILED)
        if event is Event.CLOSED:
            return replace(self, over=State.STOPPED, up=False)
        raise ImpossibleEventError(f"{event.value} can't happen to {self}")

    def _with(self, jobs: int) -> Life:
        return Life(self.up, self.was_up, jobs, self.draining, self.over)  # every job asks twice, `replace` is slower
