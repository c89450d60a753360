"""Near-duplicates by perceptual hash. Pure."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations
from typing import TYPE_CHECKING

from worker.gallery.picture_reading import HASH_BITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MOST_DIFFERENT_BITS = 6
_BAND_BITS = 8


def near_duplicates(hashes: Mapping[str, int]) -> list[list[str]]:
    """Return the groups of two or more that look alike: joined by pairs with at most `MOST_DIFFERENT_BITS` different.

    Args:
        hashes: Id of a picture → its hash.
    """
    leader = {value: value for value in hashes.values()}

    def find(value: int) -> int:
        while leader[value] != value:
            leader[value] = leader[leader[value]]
            value = leader[value]
        return value

    for one, other in _pairs_that_may_be_near(list(leader)):
        if (one ^ other).bit_count() <= MOST_DIFFERENT_BITS:
            leader[find(other)] = find(one)
    groups: dict[int, list[str]] = defaultdict(list)
    for name, value in hashes.items():
        groups[find(value)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _pairs_that_may_be_near(values: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the pairs that agree in one of eight bands of eight bits: all that differ in fewer than eight bits."""
    for shift in range(0, HASH_BITS, _BAND_BITS):
        bands: dict[int, list[int]] = defaultdict(list)
        for value in values:
            bands[value >> shift & (2**_BAND_BITS - 1)].append(value)
        for band in bands.values():
            yield from combinations(band, 2)
