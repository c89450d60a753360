"""Progress of downloads: the state of one download, and the sum of those that one call waits for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """The state of all fetches of one call of `prepare`.

    Attributes:
        name: The model that is on its way, or the first of several.
        done: Bytes that are there.
        total: Bytes in all; None while a source does not say.
        speed: Bytes per second, lately.
        eta_s: Seconds left at that speed; None when unknown.
        waiting: Another worker fetches it; this one looks on.
    """

    name: str
    done: int
    total: int | None
    speed: float
    eta_s: float | None
    waiting: bool = False


ProgressSink = Callable[[FetchProgress], None]


_WINDOW_S = 5.0
_TELL_S = 0.25


class DownloadState:
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


class SpeedMeter:
    """Turns the numbers of several states into one progress with a speed over the last seconds."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._past: deque[tuple[float, int]] = deque()

    def read(self, states: Iterable[DownloadState]) -> FetchProgress | None:
        """Return the progress of these states together; None when there are none."""
        all_of_them = list(states)
        if not all_of_them:
            return None
        done = sum(state.done for state in all_of_them)
        totals = [state.total for state in all_of_them]
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
            waiting=all(state.waiting for state in all_of_them),
        )


async def tell(states: Sequence[DownloadState], on_progress: ProgressSink) -> None:
    """Tell how far `states` are, a few times a second, until cancelled; more may join them."""
    meter = SpeedMeter()
    while True:
        await asyncio.sleep(_TELL_S)
        progress = meter.read(states)
        if progress is not None:
            on_progress(progress)
