"""Did you mean …? The nearest name by edit distance, fast enough for lists of thousands."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 80
"""Longer words are not typed by hand; comparing them costs more than it helps."""


def plain(word: str) -> str:
    """Return `word` without case, spaces and punctuation: ``DPM++ 2M Karras`` and ``dpm++_2m_karras`` are the same."""
    return "".join(letter for letter in word.casefold() if letter.isalnum() or letter == "+")


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` was probably meant to be, or None when nothing is near.

    Equal but for case and punctuation wins; then the least edit distance (a swap of neighbours counts once) within a
    third of the word's length; then the only candidate that starts with the word.
    """
    if not word or len(word) > _LONGEST:
        return None
    wanted = plain(word)
    if not wanted:
        return None
    letters = set(wanted)
    allowed = max(1, len(wanted) // 3)
    best: str | None = None
    best_distance = allowed + 1
    starts: list[str] = []
    for candidate in candidates:
        offered, own = _known(candidate[: _LONGEST + 1])
        if offered == wanted:
            return candidate
        if len(wanted) > 2 and offered.startswith(wanted):  # noqa: PLR2004 - two letters begin too many names
            starts.append(candidate)
        if abs(len(offered) - len(wanted)) >= best_distance or len(letters ^ own) >= 2 * best_distance:
            continue
        distance = _distance(wanted, offered, best_distance)
        if distance < best_distance:
            best, best_distance = candidate, distance
    if best is None and len(starts) == 1:
        return starts[0]
    return best


@lru_cache(maxsize=4096)
def _known(candidate: str) -> tuple[str, frozenset[str]]:
    """Return a candidate as it is compared, and its letters; the same ones are asked for again and again."""
    offered = plain(candidate)
    return offered, frozenset(offered)


def _distance(left: str, right: str, limit: int) -> int:
    """Return the optimal string alignment distance, or `limit` as soon as it can't be less."""
    before: list[int] = []
    above = list(range(len(right) + 1))
    for row, letter in enumerate(left, 1):
        line = [row]
        for column, other in enumerate(right, 1):
            cost = min(above[column] + 1, line[column - 1] + 1, above[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == right[column - 2] and other == left[row - 2]:
                cost = min(cost, before[column - 2] + 1)
            line.append(cost)
        if min(line) >= limit:
            return limit
        before, above = above, line
    return above[-1]
