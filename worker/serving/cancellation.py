"""Waiting for one of two things, and cancelling a job without abandoning it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

T = TypeVar("T")


async def cancel_and_wait(job: Coroutine[Any, Any, T]) -> T:
    """Return the result of `job`; when cancelled, cancel `job`, wait for its end and then raise CancelledError.

    A cancelled job still has to interrupt the GPU and see it idle. However often the caller is cancelled meanwhile, the
    job gets that time and counts as running until then.
    """
    task = asyncio.ensure_future(job)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if not cancelled:
                task.cancel()
            cancelled = True
    if cancelled:
        if not task.cancelled():
            task.exception()  # retrieved, so that the loop does not report it as lost
        raise asyncio.CancelledError
    return task.result()


async def unless_set(
    event: asyncio.Event, work: Awaitable[T], *, grace_s: Callable[[], float] = lambda: 0.0
) -> T | None:
    """Return the result of `work`, or None, with `work` cancelled, if `event` is set first.

    Args:
        event: Ends the wait.
        work: The awaitable to wait for.
        grace_s: Seconds that `work` may go on after the event; asked once the event is set.
    """
    doing = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({doing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            await asyncio.wait({doing}, timeout=grace_s())
        return doing.result() if doing.done() else None
    finally:
        doing.cancel()
        waiting.cancel()
