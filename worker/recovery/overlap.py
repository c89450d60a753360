"""Requests in flight at the same time: one on the GPU, the one before it still sending its answer.

The WebUI gives the GPU away before it answers, so a request may begin before the one before it has shown that the
process is broken. Its pictures would be wrong without any sign. So an answer counts only when every earlier request has
ended, and none of them has invalidated it meanwhile.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from worker.common.cancellation import timeout
from worker.common.clock import running
from worker.errors import DeadlineExceeded, WebUICrashed

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self


class InFlight:
    """One request, in flight inside its ``with`` block.

    Attributes:
        invalidated: Another request found the process broken while this one was in flight.
    """

    def __init__(self, requests: RequestsInFlight, earlier: tuple[InFlight, ...]) -> None:
        self.invalidated = False
        self._requests = requests
        self._earlier = earlier
        self._ended = asyncio.Event()

    async def confirmed(self, deadline: float) -> None:
        """Return when every earlier request has ended and the process is sound.

        Raises:
            WebUICrashed: an earlier request has found the process broken.
            DeadlineExceeded: not by `deadline`.
        """
        for request in self._earlier:
            left = max(0.001, deadline - self._requests.clock())
            try:
                async with timeout(left):
                    await request._ended.wait()  # noqa: SLF001 - of the same class
            except asyncio.TimeoutError:
                raise DeadlineExceeded("the job's time was over before the answer could be trusted") from None
        if self.invalidated:
            raise WebUICrashed("the WebUI turned out to be broken while it made this picture")

    def invalidate_others(self) -> None:
        """Declare the process broken: no other request in flight can be trusted."""
        for request in self._requests.all:
            if request is not self:
                request.invalidated = True

    def __enter__(self) -> Self:
        self._requests.all.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.all.remove(self)
        self._earlier = ()  # else each would hold the one before it, and so on for ever
        self._ended.set()


class RequestsInFlight:
    """All requests in flight, oldest first."""

    def __init__(self, clock: Callable[[], float] = running) -> None:
        self.clock = clock
        self.all: list[InFlight] = []

    def begin(self) -> InFlight:
        """Return a request that is in flight inside its ``with`` block."""
        return InFlight(self, tuple(self.all))
