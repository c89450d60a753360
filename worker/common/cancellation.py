"""Cancellation in asyncio that waits for the work it interrupts, and waits that a time or an event ends.

Time limits are `timeout` and not `asyncio.wait_for`, which before Python 3.12 loses a cancel that comes in the moment
in which its work ends: the job would go on for nobody.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, TypeVar

if sys.version_info >= (3, 11):
    from asyncio import timeout as timeout  # noqa: PLC0414 - for others
else:
    from async_timeout import timeout as timeout  # noqa: PLC0414 - for others

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


async def shielded(work: Awaitable[T]) -> T:
    """Return the result of `work`; when cancelled, let it finish first and only then raise CancelledError."""
    return await _finished(work, cancel_work=False)


async def cancel_and_wait(work: Awaitable[T]) -> T:
    """Return the result of `work`; when cancelled, cancel it, wait for its end, and only then raise CancelledError.

    A job that was told to stop still has to interrupt the GPU and see it idle. However often its caller is cancelled
    meanwhile, it gets that time and counts as running until then.
    """
    return await _finished(work, cancel_work=True)


async def _finished(work: Awaitable[T], *, cancel_work: bool) -> T:
    task = asyncio.ensure_future(work)
    is_cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            if cancel_work and not is_cancelled:
                task.cancel()
            is_cancelled = True
    if is_cancelled:
        if not task.cancelled():
            task.exception()  # retrieved, so that the loop does not complain about it
        raise asyncio.CancelledError
    return task.result()


def of_others_too(work: asyncio.Future[T]) -> asyncio.Future[T]:
    """Return a future to wait for `work`, for which others may wait too: a cancelled wait leaves it alone.

    How it ends after all waits were cancelled is nobody's any more; the loop does not complain about an error then, as
    it does with `asyncio.shield`.
    """
    work.add_done_callback(lambda done: done.cancelled() or done.exception())
    return asyncio.shield(work)


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
