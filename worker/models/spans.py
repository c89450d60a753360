"""A set of byte ranges; pure."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any


class Spans:
    """Disjoint half-open ranges ``[begin, end)``, sorted; neighbours are merged."""

    __slots__ = ("_begins", "_ends")

    def __init__(self, ranges: tuple[tuple[int, int], ...] = ()) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for begin, end in ranges:
            self.add(begin, end)

    def __iter__(self) -> Any:
        return iter(list(zip(self._begins, self._ends, strict=True)))

    def add(self, begin: int, end: int) -> None:
        """Add a range; it may overlap what is there."""
        if begin >= end:
            return
        first = bisect_left(self._ends, begin)
        last = first
        while last < len(self._begins) and self._begins[last] <= end:
            begin, end = min(begin, self._begins[last]), max(end, self._ends[last])
            last += 1
        self._begins[first:last] = [begin]
        self._ends[first:last] = [end]

    @property
    def total(self) -> int:
        """Bytes in the set."""
        return sum(self._ends) - sum(self._begins)

    @property
    def front(self) -> int:
        """End of the range that starts at 0: everything before it is there."""
        return self._ends[0] if self._begins and self._begins[0] == 0 else 0

    def gaps(self, size: int) -> list[tuple[int, int]]:
        """Return what is missing of ``[0, size)``, in order."""
        found, position = [], 0
        for begin, end in self:
            if begin > position:
                found.append((position, min(begin, size)))
            position = max(position, end)
        if position < size:
            found.append((position, size))
        return [(begin, end) for begin, end in found if begin < end]

    def to_json(self) -> list[list[int]]:
        """Return ``[[begin, end], …]``."""
        return [[begin, end] for begin, end in self]

    @classmethod
    def from_json(cls, data: Any, size: int) -> Spans:
        """Return the ranges of `to_json`'s answer; anything that is not a range inside ``[0, size)`` is left out."""
        pairs = [pair for pair in data if isinstance(pair, list) and len(pair) == 2] if isinstance(data, list) else []  # noqa: PLR2004  begin and end
        good = [
            (begin, end)
            for begin, end in pairs
            if isinstance(begin, int) and isinstance(end, int) and 0 <= begin < end <= size
        ]
        return cls(tuple(good))
