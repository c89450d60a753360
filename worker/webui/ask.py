"""Requests to the WebUI that make no picture by diffusion: sent once, interrupted when the job is cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from worker.errors import DeadlineExceeded, WebUIUnreachable, WorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    from worker.webui.client import WebUIClient

INTERRUPT_EVERY_S = 0.3
INTERRUPT_TIMEOUT_S = 5.0


async def ask(
    client: WebUIClient, path: str, body: Mapping[str, Any], *, timeout: float, idle_timeout: float, pool: Executor
) -> Any:
    """Return the answer to ``POST path``. Whoever calls holds the GPU's lock.

    Args:
        client: The WebUI's API.
        path: Of the endpoint.
        body: JSON.
        timeout: Seconds.
        idle_timeout: Seconds for an interrupted WebUI to answer after all.
        pool: Threads for what blocks.

    Raises:
        DeadlineExceeded: `timeout` has passed.
        WebUIUnreachable, WebUIFailed, WebUIRejected: as the client says.
        asyncio.CancelledError: the WebUI was interrupted, and its answer waited for at most `idle_timeout`.
    """
    loop = asyncio.get_running_loop()
    sending = loop.run_in_executor(pool, lambda: client.post(path, body, timeout=timeout))
    try:
        return await asyncio.shield(sending)
    except asyncio.CancelledError:
        await _interrupted(client, sending, idle_timeout, pool)
        raise
    except WebUIUnreachable as error:
        if error.details.get("timeout"):
            raise DeadlineExceeded(f"the WebUI did not answer {path} within {timeout:g} s") from error
        raise


async def _interrupted(client: WebUIClient, sending: asyncio.Future[Any], idle_timeout: float, pool: Executor) -> None:
    """Interrupt until `sending` is done; repeated, because A1111 forgets an interrupt that comes too early."""
    loop = asyncio.get_running_loop()
    end = loop.time() + idle_timeout
    while not sending.done() and loop.time() < end:
        telling = loop.run_in_executor(
            pool, lambda: client.post("/sdapi/v1/interrupt", {}, timeout=INTERRUPT_TIMEOUT_S)
        )
        try:
            await asyncio.wait({telling}, timeout=INTERRUPT_TIMEOUT_S)
            telling.exception() if telling.done() else None
        except (WorkerError, asyncio.CancelledError):
            continue
        await asyncio.wait({sending}, timeout=INTERRUPT_EVERY_S)
    if sending.done():
        sending.exception()
