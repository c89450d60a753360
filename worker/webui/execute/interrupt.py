"""Interrupting a request that nobody waits for any more, without touching the next one; waiting for an idle WebUI."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from worker.common.clock import running
from worker.errors import WorkerError
from worker.webui.liveness import ANSWER_S, Heard, heard_of, progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.webui.http import WebUIClient

INTERRUPT_EVERY_S = 0.3
REFUSALS = 2
"""Refused connections in a row after which nothing listens there: one may fall into a change of process."""


async def interrupt_and_wait(
    sending: asyncio.Future[Any],
    *,
    interrupt: Callable[[], Awaitable[Heard]],
    limit_s: float,
    silence_s: float,
) -> tuple[bool, bool]:
    """Interrupt until the request has been answered; return whether it was, and whether it was cancelled meanwhile.

    It may be cancelled again and again; it finishes first.

    Args:
        sending: The request.
        interrupt: Sends one interrupt.
        limit_s: Seconds until it is given up.
        silence_s: Seconds without an answer to an interrupt until it is given up.
    """
    work = asyncio.ensure_future(_end(sending, interrupt, limit_s, silence_s))
    again = False
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            again = True
    return work.result(), again


async def _end(
    sending: asyncio.Future[Any], interrupt: Callable[[], Awaitable[Heard]], limit_s: float, silence_s: float
) -> bool:
    patience = Patience(limit_s=limit_s, silence_s=silence_s, clock=running)
    # Repeated, because A1111 forgets an interrupt that comes before the job has begun.
    while not sending.done() and not patience.is_over:
        patience.hear(await interrupt())
        await asyncio.wait({sending}, timeout=INTERRUPT_EVERY_S)
    if sending.done():
        sending.exception()
    return sending.done()


class Patience:
    """Time limits of waiting for a WebUI: shorter when it is silent, none when nothing listens any more.

    Args:
        limit_s: Seconds in all.
        silence_s: Seconds without an answer.
        clock: Monotonic seconds.
    """

    def __init__(self, *, limit_s: float, silence_s: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._end = clock() + limit_s
        self._silence_s = silence_s
        self._answered = clock()
        self._refusals = 0

    def hear(self, heard: Heard) -> None:
        """Take note of how the WebUI took a request."""
        self._refusals = self._refusals + 1 if heard is Heard.REFUSED else 0
        if heard is Heard.ANSWERED:
            self._answered = self._clock()

    @property
    def is_over(self) -> bool:
        """Return whether there is nothing left to wait for."""
        now = self._clock()
        return now >= self._end or now - self._answered >= self._silence_s or self._refusals >= REFUSALS


def wait_idle(
    client: WebUIClient, *, limit_s: float, silence_s: float, sleep: Callable[[float], None] = time.sleep
) -> bool:
    """Interrupt what runs until nothing does; return False when it still runs, or is gone. Blocking.

    Idle has to be seen twice: a request that was just accepted begins a moment later.

    Args:
        client: The WebUI.
        limit_s: Seconds in all.
        silence_s: Seconds without an answer.
        sleep: Waits so many seconds.
    """
    patience = Patience(limit_s=limit_s, silence_s=silence_s, clock=running)
    seen = 0
    while not patience.is_over:
        try:
            state = progress(client).get("state")
            idle = isinstance(state, dict) and not state.get("job") and not state.get("job_count")
            if not idle:
                interrupt(client)
            heard = Heard.ANSWERED
        except WorkerError as error:
            idle, heard = False, heard_of(error)
        patience.hear(heard)
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


def interrupt(client: WebUIClient) -> None:
    """Have the running job end at its next step. Raises what `WebUIClient.post` raises."""
    client.post("/sdapi/v1/interrupt", {}, timeout=ANSWER_S)


def skip(client: WebUIClient) -> None:
    """Have the running job's batch end at its next step, and the next one begin. Raises as `interrupt` does."""
    client.post("/sdapi/v1/skip", {}, timeout=ANSWER_S)
