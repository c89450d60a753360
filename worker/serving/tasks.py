"""Waiting for the first of two things."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


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
