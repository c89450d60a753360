"""Progress updates of a running job, all of which are sent before its result.

The platform takes whatever arrives last for the truth: an update that overtakes the result leaves a finished job "in
progress". So updates go out one at a time, and `Reporter` is left only when none is on its way.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from typing_extensions import Self

    from worker.telemetry.progress import Progress, Throttle

    Post = Callable[[dict[str, Any]], Awaitable[None]]

_log = get_logger("serving")

LAST_POST_S = 2.0
"""Time that the result waits for an update on its way before that update is dropped."""


class Reporter:
    """A progress sink for one job; use as ``async with Reporter(post, throttle) as sink``.

    Only the newest progress is kept: a slow platform gets fewer updates, not later ones.

    Args:
        post: Sends one update; whatever it raises costs that update and nothing else.
        throttle: Decides which updates are sent and when.
    """

    def __init__(self, post: Post, throttle: Throttle) -> None:
        self._post = post
        self._throttle = throttle
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._latest: Progress | None = None
        self._posting: asyncio.Future[None] | None = None
        self._open = True
        self._telling = asyncio.ensure_future(self._tell())

    def __call__(self, progress: Progress) -> None:
        """Take note of `progress`; callable from any thread."""
        if self._open:
            unseen = self._latest.preview if self._latest is not None else None
            self._latest = progress if progress.preview or not unseen else replace(progress, preview=unseen)
            self._loop.call_soon_threadsafe(self._news.set)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        self._telling.cancel()
        await asyncio.wait({self._telling})
        if self._posting is not None and not self._posting.done():
            try:
                await asyncio.wait({self._posting}, timeout=LAST_POST_S)
            finally:
                self._posting.cancel()

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if self._latest is None:
                continue
            wait = self._throttle.due_in(self._latest)
            if wait is None:
                continue
            await asyncio.sleep(wait)
            told, self._latest = self._latest, replace(self._latest, preview=None)
            body = self._throttle.tell(told).to_json()
            self._posting = asyncio.ensure_future(self._send(body))
            await asyncio.shield(self._posting)

    async def _send(self, body: dict[str, Any]) -> None:
        try:
            await self._post(body)
        except Exception as error:  # noqa: BLE001 - progress is a courtesy; the job must not fail over it
            _log.debug("a progress update was lost", why=repr(error))
