"""Queue for the GPU inside the worker: the order of the jobs, and the time for which the GPU has been busy.

In order of arrival, unless the operator lets jobs with the loaded checkpoint go first (`GROUP_WAIT_S`): a change of
checkpoint costs seconds, and the first in line never waits longer than that for the others' sake.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.common.clock import running
from worker.errors import DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self


class Reservation:
    """A job's right to all turns from its first one on; `is_active` until the job has no more requests."""

    def __init__(self) -> None:
        self.is_active = True


_reservation: ContextVar[Reservation | None] = ContextVar("reservation", default=None)
"""Of the job that this code works for; turns are taken deep below the code that knows that there will be more."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that waits for the GPU: the checkpoint it needs and since when (monotonic seconds) it waits."""

    model: str
    since: float
    turn: asyncio.Future[None] = field(compare=False, repr=False)
    reservation: Reservation | None = field(default=None, compare=False, repr=False)


def choose(waiting: Sequence[Waiting], loaded: str, *, patience_s: float, now: float) -> int:
    """Return the index of the job that goes next.

    Args:
        waiting: In order of arrival, at least one.
        loaded: The checkpoint that needs no loading.
        patience_s: How long the first in line lets others pass.
        now: Monotonic seconds.
    """
    if now - waiting[0].since >= patience_s:
        return 0
    return next((index for index, one in enumerate(waiting) if one.model == loaded), 0)


class GpuQueue:
    """Gives the GPU to one job at a time.

    Args:
        patience_s: See `choose`; 0 keeps the order of arrival.
        clock: Monotonic seconds.
    """

    def __init__(self, *, patience_s: float = 0.0, clock: Callable[[], float] = running) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._waiting: list[Waiting] = []
        self._loaded = ""
        self._held_since: float | None = None
        self._busy_s = 0.0
        self._reserved: Reservation | None = None

    @property
    def loaded(self) -> str:
        """The checkpoint of the job that had the GPU last."""
        return self._loaded

    @property
    def waiting(self) -> int:
        """Jobs in line."""
        return len(self._waiting)

    @property
    def busy_s(self) -> float:
        """Seconds for which the GPU was somebody's, up to now."""
        held = 0.0 if self._held_since is None else self._clock() - self._held_since
        return self._busy_s + held

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Let no other job in between the turns that are taken inside the block, from the first one on."""
        reservation = Reservation()
        token = _reservation.set(reservation)
        try:
            yield
        finally:
            _reservation.reset(token)
            reservation.is_active = False
            if self._reserved is reservation:
                self._reserved = None
                self._advance()

    def let_others_in(self) -> None:
        """Give up the asking job's reservation until its next turn: what it waits for may be another job's to make."""
        if self._reserved is not None and self._reserved is _reservation.get():
            self._reserved = None
            self._advance()

    async def take(self, model: str, *, deadline: float) -> Turn:
        """Wait for the GPU with `model` on it; the turn ends with its `release`.

        Raises:
            DeadlineExceeded: monotonic second `deadline` came first.
            asyncio.CancelledError: nothing is held.
        """
        reservation = _reservation.get()
        if reservation is not None and not reservation.is_active:
            reservation = None  # of a job that has ended; this is work that it has left behind
        # within a reservation its job passes all others; without one nobody may be overtaken
        if self._held_since is None and self._may_go(reservation) and (self._reserved or not self._waiting):
            self._loaded, self._held_since, self._reserved = model, self._clock(), reservation
            return Turn(self._release)
        place = Waiting(model, self._clock(), asyncio.get_running_loop().create_future(), reservation)
        self._waiting.append(place)
        try:  # not `wait_for`, which may lose a turn that comes just at its end (Python < 3.12)
            await asyncio.wait({place.turn}, timeout=max(0.001, deadline - self._clock()))
        except asyncio.CancelledError:
            self._leave(place)
            raise
        if not place.turn.done():
            self._leave(place)
            raise DeadlineExceeded("the job's time was over before its turn on the GPU")
        return Turn(self._release)

    def _advance(self) -> None:
        ready = [place for place in self._waiting if self._may_go(place.reservation)]
        if self._held_since is not None or not ready:
            return
        now = self._clock()
        place = ready[choose(ready, self._loaded, patience_s=self._patience_s, now=now)]
        self._waiting.remove(place)
        self._loaded = place.model
        self._held_since = now
        self._reserved = place.reservation if place.reservation is not None and place.reservation.is_active else None
        place.turn.set_result(None)

    def _may_go(self, reservation: Reservation | None) -> bool:
        return self._reserved is None or self._reserved is reservation

    def _leave(self, place: Waiting) -> None:
        if place.turn.done():
            self._release()
        else:
            self._waiting.remove(place)

    def _release(self) -> None:
        if self._held_since is not None:
            self._busy_s += self._clock() - self._held_since
        self._held_since = None
        self._advance()


class Turn:
    """A job's hold on the GPU; a context manager.

    Attributes:
        held: It has not been released.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self.held = True
        self._callbacks = [release]

    def before_release(self, callback: Callable[[], None]) -> None:
        """Have `callback` called before the next in line gets the GPU."""
        self._callbacks.append(callback)

    def release(self) -> None:
        """Give the GPU to the next in line; more often than once does nothing."""
        if self.held:
            self.held = False
            for callback in reversed(self._callbacks):
                callback()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
