"""Size of an answer, the route that its pictures take, and smaller encodings of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING, Literal

from worker.errors import OutputTooLarge
from worker.images.convert import convert

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.images.formats.picture import Format, Picture

    Map = Callable[[Callable[[Picture], Picture], Iterable[Picture]], Iterable[Picture]]

Wish = Literal["auto", "base64", "s3", "none"]
Route = Literal["inline", "s3", "smaller"]

_QUOTES = 2
_SEPARATOR = 2  # the platform's SDK writes ", "


@dataclass(frozen=True, slots=True)
class SizeBudget:
    """The limits of one answer.

    Attributes:
        limit: Bytes of the whole answer as JSON.
        overhead: Bytes of the same answer with an empty list of pictures.
    """

    limit: int
    overhead: int

    @property
    def room(self) -> int:
        """Bytes left for the pictures."""
        return max(0, self.limit - self.overhead)

    def fits(self, pictures: Sequence[Picture]) -> bool:
        """Return whether the answer with `pictures` as base64 stays within the limit."""
        return inline_bytes(pictures) <= self.room


def inline_bytes(pictures: Sequence[Picture]) -> int:
    """Return the exact number of JSON bytes that `pictures` add to an empty list: base64 needs no escapes."""
    return sum(picture.base64_length + _QUOTES for picture in pictures) + _SEPARATOR * max(0, len(pictures) - 1)


def plan(
    pictures: Sequence[Picture], budget: SizeBudget, *, wish: Wish, store: bool, own_store: bool, may_shrink: bool
) -> Route:
    """Return the way the pictures go.

    Args:
        pictures: What the answer would carry inline.
        budget: The answer's limit and what is used already.
        wish: The client's word, else the operator's.
        store: There is one, the operator's or the job's.
        own_store: The job brought it, which says where its pictures are wanted.
        may_shrink: The client takes a smaller format rather than an error.

    Raises:
        OutputTooLarge: nothing allowed fits; the message says how large, what the limit is and what would fit.
    """
    if store and (wish in ("s3", "none") or (wish == "auto" and own_store)):
        return "s3"
    if budget.fits(pictures):
        return "inline"
    if store and wish == "auto":
        return "s3"
    if may_shrink:
        return "smaller"
    raise too_large(pictures, budget)


def too_large(pictures: Sequence[Picture], budget: SizeBudget, *, shrunk: bool = False) -> OutputTooLarge:
    """Return the error for pictures that don't fit; `shrunk`: they are the smallest that were tried."""
    need = inline_bytes(pictures)
    largest = max((picture.base64_length + _QUOTES + _SEPARATOR for picture in pictures), default=1)
    fitting = (budget.room + _SEPARATOR) // largest
    details = {
        "bytes": budget.overhead + need,
        "limit_bytes": budget.limit,
        "images": len(pictures),
        "format": pictures[0].format if pictures else None,
        "fitting_images": fitting,
        "fitting_size": _fitting_size(pictures, budget),
    }
    what = f"{len(pictures)} {pictures[0].format.upper() if pictures else ''} picture{'s' * (len(pictures) != 1)}"
    message = f"{what} make an answer of {details['bytes']} bytes; the limit is {budget.limit}"
    if shrunk:
        message += ", in the smallest format too"
    if fitting:
        message += f". {fitting} of them would fit"
    if details["fitting_size"]:
        message += f"{', or all' if fitting else '. All would fit'} at about {details['fitting_size']}"
    options = ["fewer or smaller pictures", "a store (s3Config or the endpoint's BUCKET_ENDPOINT_URL)"]
    if not shrunk:
        options.insert(0, "output.format jpeg or webp, or output.allow_smaller")
    return OutputTooLarge(message + ".", hint=f"Ask for {'; '.join(options)}.", details=details)


def _fitting_size(pictures: Sequence[Picture], budget: SizeBudget) -> str | None:
    """Return the size (`768x512`, in multiples of 8) at which all pictures of this kind would about fit."""
    need = inline_bytes(pictures)
    if not pictures or need <= 0:
        return None
    factor = sqrt(budget.room / need)
    width, height = (int(side * factor) // 8 * 8 for side in (pictures[0].width, pictures[0].height))
    return f"{width}x{height}" if min(width, height) >= 64 else None  # noqa: PLR2004 - the least that jobs may ask for


STEPS: tuple[tuple[Format, int], ...] = (("jpeg", 95), ("jpeg", 85), ("webp", 80), ("webp", 50))
"""Tried in this order, mildest first; each costs one encoding per picture."""


def shrink(
    pictures: Sequence[Picture], budget: SizeBudget, *, strip: bool, apply: Map = map
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
