"""Ending a request that nobody waits for any more, without touching the next one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.webui.gpuspan import GpuSpan

INTERRUPT_EVERY_S = 0.3


async def see_out(
    sending: asyncio.Future[Any], span: GpuSpan, *, interrupt: Callable[[], Awaitable[None]], limit_s: float
) -> tuple[bool, bool]:
    """Interrupt until the request has been answered; return whether it was, and whether it was cancelled meanwhile.

    It may be cancelled again and again; it finishes first. A request that has left the GPU is not interrupted: that
    would hit the next one.
    """
    work = asyncio.ensure_future(_end(sending, interrupt if span.keep() else None, limit_s))
    again = False
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            again = True
    return work.result(), again


async def _end(sending: asyncio.Future[Any], interrupt: Callable[[], Awaitable[None]] | None, limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    # Repeated, because A1111 forgets an interrupt that comes before the job has begun.
    while not sending.done() and time.monotonic() < end:
        if interrupt is not None:
            await interrupt()
        await asyncio.wait({sending}, timeout=INTERRUPT_EVERY_S)
    if sending.done():
        sending.exception()
    return sending.done()
