"""Monotonic time that stands still while this process is frozen.

The platform may freeze a whole container between two jobs or within one (FlashBoot, SIGSTOP) and thaw it an hour later.
The system's monotonic clock goes on meanwhile, so every deadline would seem missed and the WebUI hung, though neither
had a moment to work. A thread ticks twice a second; a much longer gap between two ticks was no running time.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

TICK_S = 0.5
LONGEST_GAP_S = 2.0
"""Between two ticks of a process that runs, however busy the machine is; longer ones are taken out."""


class RunningClock:
    """Seconds for which this process ran; thread-safe. Call it to read it.

    Until `start` it agrees with its source.

    Args:
        source: Monotonic seconds.
    """

    def __init__(self, source: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._frozen = 0.0
        self._last: float | None = None

    def __call__(self) -> float:
        with self._lock:
            now = self._source()
            if self._last is not None:
                gap = now - self._last
                if gap > LONGEST_GAP_S:
                    self._frozen += gap - TICK_S
                self._last = now
            return now - self._frozen

    def start(self) -> None:
        """Begin to tick, in a daemon thread; once is enough."""
        with self._lock:
            if self._last is not None:
                return
            self._last = self._source()
        threading.Thread(target=self._tick, name="clock", daemon=True).start()

    def adopt(self, loop: AbstractEventLoop) -> None:
        """Have the timers of `loop` follow this clock, `asyncio.timeout` and `asyncio.sleep` among them."""
        loop.time = self  # type: ignore[method-assign]  # the loop reads all its times through this method

    def _tick(self) -> None:
        while True:
            time.sleep(TICK_S)
            self()


running = RunningClock()
"""The clock of this process."""
