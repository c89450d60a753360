"""A limit of time for work in the task that runs already: `asyncio.wait_for` makes a task of its own, 0.2 ms a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """Return what `work` returns; interrupt it when `seconds` have passed, and wait for its end.

    Raises:
        asyncio.TimeoutError: the time was over first.
        asyncio.CancelledError: the task was cancelled by somebody else.
    """
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("a coroutine runs in a task")
    over = told = False

    def interrupt() -> None:
        nonlocal over
        over = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(max(0.0, seconds), interrupt)
    try:
        return await work
    except asyncio.CancelledError:
        # Since Python 3.11 a task counts who cancels it, so that a cancel from outside in the same moment is not lost.
        told = True
        others = task.uncancel() if over and hasattr(task, "uncancel") else 0
        if over and not others:
            raise asyncio.TimeoutError from None
        raise
    finally:
        timer.cancel()
        if over and not told and hasattr(task, "uncancel"):
            task.uncancel()  # the work ended all the same: no later wait may take this interrupt for somebody's cancel
