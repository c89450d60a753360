"""How far the fetching of models is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """The state of all fetches of one call of `prepare`.

    Attributes:
        name: The model that is on its way, or the first of several.
        done: Bytes that are there.
        total: Bytes in all; None while a source does not say.
        speed: Bytes per second, lately.
        eta_s: Seconds left at that speed; None when unknown.
        waiting: Another worker fetches it; this one looks on.
    """

    name: str
    done: int
    total: int | None
    speed: float
    eta_s: float | None
    waiting: bool = False


ProgressSink = Callable[[FetchProgress], None]
