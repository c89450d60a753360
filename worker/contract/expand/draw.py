"""Random draws that follow from a seed alone. Pure.

Every draw hashes its key, so it depends neither on the draws before it nor on the version of Python, and adding an
option changes only the draws that the new option wins.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")
_BITS = 64


def fraction(*key: object) -> float:
    """Return a number from 0 to below 1, evenly spread over different keys."""
    text = "\x1f".join(str(part) for part in key)
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_BITS // 8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53


def shuffled(options: Iterable[T], *key: object) -> list[T]:
    """Return the different options in random order; the first n are a random choice of n."""
    return sorted(dict.fromkeys(options), key=lambda option: fraction(*key, option))


def number_between(least: int, most: int, seed: int, *key: object) -> int:
    """Return an integer from `least` to `most`.

    Each run of ``most - least + 1`` seeds that begins at a multiple of that number has every integer once, so that a
    batch of consecutive seeds covers them evenly.
    """
    run, place = divmod(seed, most - least + 1)
    return shuffled(range(least, most + 1), run, *key)[place]


def scale_between(least: float, most: float, *key: object) -> float:
    """Return a number from `least` to `most`, rounded to hundredths as people write scales."""
    return min(max(round(least + (most - least) * fraction(*key), 2), least), most)
