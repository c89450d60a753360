"""Ending a request that nobody waits for any more, without touching the next one; and knowing that nothing runs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from worker.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from worker.webui.client import WebUIClient
    from worker.webui.gpuspan import GpuSpan

INTERRUPT_EVERY_S = 0.3
TIMEOUT_S = 3.0
"""For an interrupt or a question about progress: both are answered at once, also during a job."""


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


def settle(client: WebUIClient, end: float, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Interrupt whatever runs until nothing does; return False when it still runs at monotonic second `end`. Blocking.

    Idle has to be seen twice: a request that was just accepted begins a moment later.
    """
    seen = 0
    while time.monotonic() < end:
        try:
            state = progress(client).get("state")
            idle = isinstance(state, dict) and not state.get("job") and not state.get("job_count")
            if not idle:
                interrupt(client)
        except WorkerError:
            idle = False
        seen = seen + 1 if idle else 0
        if seen > 1:
            return True
        sleep(INTERRUPT_EVERY_S / 2)
    return False


def was_cut_short(client: WebUIClient) -> bool:
    """Return whether the WebUI's last job was interrupted or skipped: its flags stay until the next one begins.

    Source: `modules/shared_state.py` of A1111 v1.10.1. Raises what `WebUIClient.get` raises.
    """
    state = progress(client).get("state")
    return isinstance(state, dict) and bool(state.get("interrupted") or state.get("skipped"))


def progress(client: WebUIClient) -> Mapping[str, Any]:
    """Return what the WebUI says of what runs now. Raises what `WebUIClient.get` raises."""
    state = client.get("/sdapi/v1/progress?skip_current_image=true", timeout=TIMEOUT_S, tries=1)
    return state if isinstance(state, dict) else {}


def interrupt(client: WebUIClient) -> None:
    """Have the running job end at its next step. Raises what `WebUIClient.post` raises."""
    client.post("/sdapi/v1/interrupt", {}, timeout=TIMEOUT_S)
