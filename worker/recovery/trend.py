"""Is memory creeping up from job to job? Pure: figures go in, the verdict comes out."""

from __future__ import annotations

from collections import deque

WINDOW = 24
THIRDS = 3


class Trend:
    """Figures of one kind of memory, one after each job.

    A leak grows all the time; a larger picture or another model is a single step. So the window counts as creeping
    only when its least figure rises from the first third to the second and from that to the last by a fair share of
    what it has grown in all.

    Args:
        limit: Bytes of growth within the window that are worth a restart; 0: never.
        window: Jobs looked at.
    """

    def __init__(self, limit: int, window: int = WINDOW) -> None:
        self._limit = limit
        self._figures: deque[int] = deque(maxlen=window)

    def add(self, figure: int) -> bool:
        """Take in a figure (bytes); return whether they creep up."""
        self._figures.append(figure)
        if self._limit <= 0 or len(self._figures) < (self._figures.maxlen or 0):
            return False
        figures = list(self._figures)
        third = len(figures) // THIRDS
        first, second, last = min(figures[:third]), min(figures[third:-third]), min(figures[-third:])
        growth = last - first
        return growth >= self._limit and second - first >= growth / 4 and last - second >= growth / 4

    def clear(self) -> None:
        """Forget everything: the process is a new one."""
        self._figures.clear()
