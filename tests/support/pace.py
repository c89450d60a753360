"""Limits in time that hold on a busy machine too, and are as narrow as they can be on one that is left alone."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

TURNS = 100_000
"""Of an empty loop, some 2 ms on the machines of 2025."""
ROUNDS = 5


def loop_turns(work: Callable[[], object]) -> float:
    """Return the number of turns of an empty loop that take as long as `work`, in this thread and at its best."""
    return min(_seconds(work) for _ in range(ROUNDS)) / min(_seconds(_loop) for _ in range(ROUNDS)) * TURNS


def stretched(seconds: float) -> float:
    """Return the time that a machine as busy as this one may take for what takes `seconds` on one left alone."""
    return seconds * max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def _seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began


def _loop() -> None:
    for _ in range(TURNS):
        pass
