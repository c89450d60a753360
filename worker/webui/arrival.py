"""An answer on its way: a small one is read in the event loop, since a thread takes as long to begin as it to come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

    from worker.webui.client import WebUIClient
    from worker.webui.replies import Begun


def arrival(
    client: WebUIClient,
    begun: Begun | None,
    *,
    finish: Callable[[], Any],
    pool: Executor,
    patience_s: float,
    on_end: Callable[[], None] = lambda: None,
) -> asyncio.Future[Any]:
    """Return a future of what `finish` returns or raises: the answer to `begun`.

    Args:
        client: What it was begun with.
        begun: The request; None: `finish` sends it as well.
        finish: Waits for the answer. It runs in the loop when a small one is there, all of it; else in a thread.
        pool: Where threads come from.
        patience_s: Seconds until a thread looks after it, which knows what silence means.
        on_end: Called when the future is done, where possible in the same turn of the loop.
    """
    if begun is None or begun.failure is not None:
        answer = asyncio.get_running_loop().run_in_executor(pool, finish)
    else:
        answer = _Arrival(client, begun, finish, pool, patience_s, on_end).answer
    answer.add_done_callback(lambda _: on_end())
    return answer


class Bell:
    """Wakes the task that waits for it, in the turn of the loop after the one in which it rings."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        """Wake whoever waits now."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Return when it rings, or when `seconds` have passed."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self.ring)
        try:
            await self._waiter
        finally:
            timer.cancel()


class _Arrival:
    def __init__(
        self,
        client: WebUIClient,
        begun: Begun,
        finish: Callable[[], Any],
        pool: Executor,
        patience_s: float,
        on_end: Callable[[], None],
    ) -> None:
        self._client = client
        self._begun = begun
        self._finish = finish
        self._pool = pool
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._number = begun.connection.fileno()
        self.answer: asyncio.Future[Any] = self._loop.create_future()
        self._loop.add_reader(self._number, self._look)
        self._timer = self._loop.call_later(patience_s, self._in_a_thread)

    def _look(self) -> None:
        whole = self._client.arrived(self._begun)
        if whole is None:
            return
        if not whole:
            self._in_a_thread()
            return
        self._leave()
        try:
            result = self._finish()
        except Exception as error:  # noqa: BLE001 - whoever waits for the future gets it
            self._end(failure=error)
        else:
            self._end(result)

    def _in_a_thread(self) -> None:
        self._leave()
        self._loop.run_in_executor(self._pool, self._finish).add_done_callback(self._pass_on)

    def _leave(self) -> None:
        self._loop.remove_reader(self._number)
        self._timer.cancel()

    def _pass_on(self, done: asyncio.Future[Any]) -> None:
        if done.cancelled():  # with its pool
            self.answer.cancel()
            return
        failure = done.exception()
        self._end(done.result() if failure is None else None, failure=failure)

    def _end(self, result: Any = None, *, failure: BaseException | None = None) -> None:
        """Pass the answer on, unless nobody waits for it any more: it was read all the same, its connection is free."""
        if self.answer.done():
            return
        if failure is None:
            self.answer.set_result(result)
        else:
            self.answer.set_exception(failure)
        self._on_end()
