"""Requests to the WebUI that make no picture by diffusion: sent once, and never left behind when the job ends early."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.common.cancellation import shielded
from worker.errors import DeadlineExceeded, WebUIFailed, WebUIUnreachable
from worker.webui.execute.generate import EXIT_SEEN_S
from worker.webui.result import failures

ANSWER_S = 1.0
"""For the answer to a request that was interrupted, once the WebUI is idle."""

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from worker.webui.backend import Backend


async def call_webui(backend: Backend, path: str, body: Mapping[str, Any], *, timeout: float, pool: Executor) -> Any:
    """Return the answer to ``POST path``. The caller holds the GPU's lock.

    Args:
        backend: The WebUI.
        path: Of the endpoint.
        body: JSON.
        timeout: Seconds.
        pool: Threads for what blocks.

    Raises:
        DeadlineExceeded: `timeout` has passed; the WebUI is idle again, or was abandoned.
        WebUIUnreachable: it ended, answers nothing any more, or is idle again.
        WebUIFailed, WebUIRejected, OutOfMemory: as the WebUI says.
        asyncio.CancelledError: as for the deadline.
    """
    loop = asyncio.get_running_loop()
    post = partial(backend.client.post, path, body, timeout=None, silence_s=backend.plan.stall_timeout)
    sending = loop.run_in_executor(pool, post)
    sending.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, also where it is left behind
    try:
        await asyncio.wait({sending}, timeout=timeout)
    except asyncio.CancelledError:
        await shielded(_end(backend, sending))
        raise
    if not sending.done():
        await shielded(_end(backend, sending))
        raise DeadlineExceeded(f"the WebUI did not answer {path} within {timeout:g} s and was interrupted")
    try:
        return sending.result()
    except WebUIUnreachable:
        if not await loop.run_in_executor(pool, backend.ends, EXIT_SEEN_S):
            await shielded(backend.interrupt())  # it may still be at it
        raise
    except WebUIFailed as error:
        raise failures.meaning(error) from error


async def _end(backend: Backend, sending: asyncio.Future[Any]) -> None:
    """Interrupt the request; where its answer was lost on the way, stop waiting for it."""
    await backend.interrupt()
    done, _ = await asyncio.wait({sending}, timeout=ANSWER_S)
    if not done:
        backend.client.abort()
