"""A limit of time for work in the task that runs already: `asyncio.wait_for` makes a task of its own, 0.2 ms a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

T = TypeVar("T")


async def within(seconds: float, work: Awaitable[T]) -> T:
    """Return what `work` returns; interrupt it when `seconds` have passed, and wait for its end.

    Raises:
        asyncio.TimeoutError: the time was over first.
        asyncio.CancelledError: the task was cancelled by somebody else.
    """
    steps = work.__await__()
    try:
        first = next(steps)
    except StopIteration as done:  # it never had to wait, as most that is waited for: no limit was needed
        value: T = done.value
        return value
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
        return await _Rest(steps, first)
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


class _Rest(Generic[T]):
    """What is left of a coroutine after its first step, which gave `first` to wait for."""

    def __init__(self, steps: Generator[Any, Any, T], first: Any) -> None:
        self._steps = steps
        self._first = first

    def __await__(self) -> Generator[Any, Any, T]:
        waits_for = self._first
        while True:
            try:
                yield waits_for
            except BaseException as error:  # noqa: BLE001 - a cancel: it is for the coroutine to say what follows
                try:
                    waits_for = self._steps.throw(error)
                except StopIteration as done:
                    value: T = done.value
                    return value
            else:
                return (yield from self._steps)
