"""Duration of each phase of a job."""

from __future__ import annotations

import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

MOST_STRETCHES = 500
"""Stretches of phases that are remembered: a job of hundreds of pictures has several for each."""


class Phases:
    """Milliseconds by phase; a phase that runs twice adds up.

    Attributes:
        kind: What kind of job it is, once that is known.
        bytes: Of the pictures that were delivered, together.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = clock()
        self._spent: dict[str, float] = {}
        self._stretches: deque[tuple[str, float, float]] = deque(maxlen=MOST_STRETCHES)
        self.kind = "unknown"
        self.bytes = 0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time inside the block to `name`, also when it raises."""
        start = self._clock()
        try:
            yield
        finally:
            end = self._clock()
            self._spent[name] = self._spent.get(name, 0.0) + (end - start)
            self._stretches.append((name, start, end))

    def stretches(self) -> list[tuple[str, float, float]]:
        """Return name, seconds since the beginning and duration of the last `MOST_STRETCHES` stretches."""
        return [(name, start - self._began, end - start) for name, start, end in self._stretches]

    def add(self, other: Phases, *, without: Collection[str] = ()) -> None:
        """Count the time of `other`'s phases too, but for those named in `without`."""
        for name, spent in other.seconds().items():
            if name != "total" and name not in without:
                self._spent[name] = self._spent.get(name, 0.0) + spent
        self._stretches.extend(each for each in other._stretches if each[0] not in without)

    def seconds(self) -> dict[str, float]:
        """Return ``{phase: seconds, …, "total": seconds}``."""
        return {**self._spent, "total": self._clock() - self._began}

    def to_json(self) -> dict[str, float]:
        """Return ``{phase: ms, …, "total": ms}``, rounded to a tenth."""
        return in_ms(self.seconds())


def in_ms(seconds: Mapping[str, float]) -> dict[str, float]:
    """Return `seconds` as milliseconds, rounded to a tenth."""
    return {name: round(each * 1000, 1) for name, each in seconds.items()}
