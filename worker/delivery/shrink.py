"""Smaller files of the same pictures, for a client that rather has those than none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.delivery.size import too_large
from worker.images.convert import convert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.delivery.size import Budget
    from worker.images.picture import Format, Picture

    Map = Callable[[Callable[[Picture], Picture], Iterable[Picture]], Iterable[Picture]]

STEPS: tuple[tuple[Format, int], ...] = (("jpeg", 95), ("jpeg", 85), ("webp", 80), ("webp", 50))
"""Tried in this order, mildest first; each costs one encoding per picture."""


def shrink(
    pictures: Sequence[Picture], budget: Budget, *, strip: bool, apply: Map = map
) -> tuple[list[Picture], tuple[Format, int]]:
    """Return `pictures` in the mildest smaller form that fits, and which form that is.

    Args:
        pictures: As made.
        budget: What the answer may hold.
        strip: Leave the infotext out.
        apply: `map`, or a pool's.

    Raises:
        OutputTooLarge: none fits.
    """
    tried: list[Picture] = list(pictures)
    for kind, quality in STEPS:
        tried = list(apply(lambda one: convert(one, format=kind, quality=quality, strip=strip), pictures))  # noqa: B023 - used up within this turn
        if budget.fits(tried):
            return tried, (kind, quality)
    raise too_large(tried, budget, shrunk=True)
