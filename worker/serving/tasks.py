"""Cancelling a job without leaving it, and waiting for one of two things."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

T = TypeVar("T")


async def see_through(job: Coroutine[Any, Any, T]) -> T:
    """Return what `job` returns; when cancelled, cancel it, wait until it has really ended, and only then pass that on.

    A job that was told to stop still has to interrupt the GPU and see it idle. However often its caller is cancelled
    meanwhile, it gets that time, and whoever counts running jobs counts it until then.
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
            task.exception()  # seen, so that the loop does not complain about it
        raise asyncio.CancelledError
    return task.result()


async def unless(event: asyncio.Event, work: Awaitable[T], *, grace_s: Callable[[], float] = lambda: 0.0) -> T | None:
    """Return what `work` returns; None, with `work` cancelled, when `event` came more than `grace_s` seconds before.

    Args:
        event: What ends the waiting.
        work: What is waited for.
        grace_s: Asked when the event has come.
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
