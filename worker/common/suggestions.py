"""Suggestions for misspelt names: "did you mean …?"."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LONGEST_WORD = 80
"""Characters that are compared; longer words are not typed by hand, and comparing them is slow."""
_LEAST_SIMILARITY = 0.7
_LEAST_PREFIX = 3
_LEAST_FRAGMENT = 4


def plain(word: str) -> str:
    """Return `word` without case, spaces and punctuation: ``DPM++ 2M Karras`` and ``dpm++_2m_karras`` are the same."""
    return "".join(letter for letter in word.casefold() if letter.isalnum() or letter == "+")


def nearest(
    word: str, candidates: Iterable[str], *, similarity: float = _LEAST_SIMILARITY, prefix: bool = True
) -> str | None:
    """Return the candidate that `word` was probably meant to be, or None when nothing is near.

    A candidate that differs only in case and punctuation wins, then the most similar one, then the only one that
    begins with the word.

    Args:
        word: As it was written.
        candidates: The names that exist.
        similarity: The least ratio, as `difflib` counts it, at which two names count as near.
        prefix: Whether the beginning of a name is enough.
    """
    wanted = plain(word) if len(word) <= LONGEST_WORD else ""
    if not wanted:
        return None
    by_key = _by_key(candidates, plain)
    if wanted in by_key:
        return by_key[wanted]
    close = get_close_matches(wanted, by_key, n=1, cutoff=similarity)
    if close:
        return by_key[close[0]]
    starts = [key for key in by_key if prefix and len(wanted) >= _LEAST_PREFIX and key.startswith(wanted)]
    return by_key[starts[0]] if len(starts) == 1 else None


def closest(
    word: str, candidates: Iterable[str], *, limit: int = 5, key: Callable[[str], str] = plain, similarity: float = 0.6
) -> list[str]:
    """Return up to `limit` candidates that `word` may have been meant to be, most similar first.

    Candidates that contain the word follow those that resemble it, shortest first.

    Args:
        word: As it was written.
        candidates: The names that exist.
        limit: How many are returned at most.
        key: The form in which names are compared.
        similarity: As for `nearest`.
    """
    wanted = key(word)[: 2 * LONGEST_WORD]
    by_key = _by_key(candidates, key)
    close = get_close_matches(wanted, by_key, n=limit, cutoff=similarity)
    containing = [each for each in by_key if len(wanted) >= _LEAST_FRAGMENT and wanted in each and each not in close]
    return [by_key[each] for each in [*close, *sorted(containing, key=len)]][:limit]


def _by_key(candidates: Iterable[str], key: Callable[[str], str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for candidate in candidates:
        found.setdefault(key(candidate)[: 2 * LONGEST_WORD], candidate)
    return found
