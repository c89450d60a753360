"""One fetch as its waiters see it: how far it is, and the way to end it when nobody wants it any more."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from worker.models.progress import FetchProgress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.models.progress import ProgressSink

_WINDOW_S = 5.0
_TELL_S = 0.25


class Flight:
    """The state of one fetch; written by its thread, read by any.

    Attributes:
        name: What is fetched.
        done: Bytes there.
        total: Bytes in all; None while unknown.
        waiting: Another worker fetches it.
        stop: Set when nobody wants it any more.
        waiters: How many calls want it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = 0
        self.total: int | None = None
        self.waiting = False
        self.stop = threading.Event()
        self.waiters = 0

    def tell(self, done: int, total: int | None, *, waiting: bool = False) -> None:
        """Take over new numbers."""
        self.done, self.total, self.waiting = done, total, waiting


class Meter:
    """Turns the numbers of several flights into one progress with a speed over the last seconds."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._past: deque[tuple[float, int]] = deque()

    def read(self, flights: Iterable[Flight]) -> FetchProgress | None:
        """Return the progress of these flights together; None when there are none."""
        all_of_them = list(flights)
        if not all_of_them:
            return None
        done = sum(flight.done for flight in all_of_them)
        totals = [flight.total for flight in all_of_them]
        total = None if None in totals else sum(each for each in totals if each is not None)
        clock = self._now()
        self._past.append((clock, done))
        while len(self._past) > 1 and clock - self._past[0][0] > _WINDOW_S:
            self._past.popleft()
        began, before = self._past[0]
        speed = max(0.0, (done - before) / (clock - began)) if clock > began else 0.0
        eta = (total - done) / speed if total is not None and speed > 0 else None
        return FetchProgress(
            name=all_of_them[0].name,
            done=done,
            total=total,
            speed=speed,
            eta_s=eta,
            waiting=all(flight.waiting for flight in all_of_them),
        )


async def tell(flights: Sequence[Flight], on_progress: ProgressSink) -> None:
    """Tell how far `flights` are, a few times a second, until cancelled; more may join them."""
    meter = Meter()
    while True:
        await asyncio.sleep(_TELL_S)
        progress = meter.read(flights)
        if progress is not None:
            on_progress(progress)
