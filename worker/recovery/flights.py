"""Requests that are under way at the same time: one on the GPU, the one before it still sending its answer.

The WebUI gives the GPU away before it answers, so a request may begin before the one before it has told that the
process is broken. Its pictures would be wrong without any sign. So an answer counts only when every earlier request has
ended, and none of them has condemned the process meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from worker.clock import running
from worker.errors import DeadlineExceeded, WebUICrashed

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from worker.queue import Turn as Held


class Flight:
    """One request, under way inside ``with flight``.

    Attributes:
        condemned: An earlier request found the process broken while this one was under way.
    """

    def __init__(self, flights: Flights, earlier: tuple[Flight, ...]) -> None:
        self.condemned = False
        self._flights = flights
        self._earlier = earlier
        self._ended = asyncio.Event()

    async def cleared(self, deadline: float) -> None:
        """Return when every earlier request has ended and the process is sound.

        Raises:
            WebUICrashed: an earlier request has condemned it.
            DeadlineExceeded: not by `deadline`.
        """
        for flight in self._earlier:
            left = max(0.001, deadline - self._flights.clock())
            try:
                await asyncio.wait_for(flight._ended.wait(), left)  # noqa: SLF001 - of the same class
            except asyncio.TimeoutError:
                raise DeadlineExceeded("the job's time was over before the answer could be trusted") from None
        if self.condemned:
            raise WebUICrashed("the WebUI turned out to be broken while it made this picture")

    def condemn(self) -> None:
        """Declare the process broken: nothing else under way can be trusted."""
        for flight in self._flights.under_way:
            if flight is not self:
                flight.condemned = True

    def __enter__(self) -> Self:
        self._flights.under_way.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._flights.under_way.remove(self)
        self._earlier = ()  # else each would hold the one before it, and so on for ever
        self._ended.set()


class Flights:
    """All requests under way, oldest first."""

    def __init__(self, clock: Callable[[], float] = running) -> None:
        self.clock = clock
        self.under_way: list[Flight] = []

    def flight(self) -> Flight:
        """Return a request that counts as under way inside its ``with`` block."""
        return Flight(self, tuple(self.under_way))


class Turn:
    """A hold on the GPU that is given back once, with somebody to be told; a context manager."""

    def __init__(self, held: Held, on_release: Callable[[], None]) -> None:
        self._held = held
        self._on_release = on_release
        self.held = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the GPU to the next in line; more often than once does nothing."""
        if self.held:
            self.held = False
            self._on_release()
            self._held.release()
