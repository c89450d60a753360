"""Requests to the WebUI that make no picture by diffusion: sent once, and never left behind when the job ends early."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from worker.aio import shielded
from worker.errors import DeadlineExceeded, WebUIFailed, WebUIUnreachable
from worker.webui import answer
from worker.webui.sending import EXIT_SEEN_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from worker.webui.backend import Backend


async def ask(backend: Backend, path: str, body: Mapping[str, Any], *, timeout: float, pool: Executor) -> Any:
    """Return the answer to ``POST path``. Whoever calls holds the GPU's lock.

    Args:
        backend: The WebUI.
        path: Of the endpoint.
        body: JSON.
        timeout: Seconds.
        pool: Threads for what blocks.

    Raises:
        DeadlineExceeded: `timeout` has passed; the WebUI is idle again, or was abandoned.
        WebUIUnreachable: it ended, or is idle again.
        WebUIFailed, WebUIRejected, OutOfMemory: as the WebUI says.
        asyncio.CancelledError: as for the deadline.
    """
    longest = timeout + backend.plan.idle_timeout
    loop = asyncio.get_running_loop()
    sending = loop.run_in_executor(pool, lambda: backend.client.post(path, body, timeout=longest))
    sending.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, also where it is left behind
    try:
        await asyncio.wait({sending}, timeout=timeout)
    except asyncio.CancelledError:
        await shielded(backend.calm())
        raise
    if not sending.done():
        await shielded(backend.calm())
        raise DeadlineExceeded(f"the WebUI did not answer {path} within {timeout:g} s and was interrupted")
    try:
        return sending.result()
    except WebUIUnreachable:
        if not await loop.run_in_executor(pool, backend.ends, EXIT_SEEN_S):
            await shielded(backend.calm())  # it may still be at it
        raise
    except WebUIFailed as error:
        raise answer.meaning(error) from error
