"""A request that is no generation ends with its job: cancelled or over its time, nothing of it is left running."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.support.loopback_http import Reply, Request, serve
from worker.errors import DeadlineExceeded
from worker.webui.backend import Backend
from worker.webui.call import call_webui
from worker.webui.process.launch_plan import LaunchPlan

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/sdapi/v1/extra-single-image"


class Slow:
    """A WebUI whose upscaling ends when it is interrupted, and not before."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.interrupted = threading.Event()

    def answer(self, request: Request) -> Reply:
        if request.path == PATH:
            self.began.set()
            self.interrupted.wait(30)
            return Reply(body=b'{"image": "", "html_info": ""}')
        if request.path == "/sdapi/v1/interrupt":
            self.interrupted.set()
            return Reply(body=b"{}")
        busy = self.began.is_set() and not self.interrupted.is_set()
        return Reply(
            body=json.dumps({"progress": 0, "state": {"job": "extras" if busy else "", "job_count": 0}}).encode()
        )


@pytest.fixture
def slow() -> Iterator[tuple[Slow, Backend]]:
    webui = Slow()
    with serve(webui.answer) as server:
        plan = LaunchPlan("a1111", server.url, boot_timeout=5, idle_timeout=5, connect_timeout=2)
        yield webui, Backend(plan)
        webui.interrupted.set()


def test_a_cancelled_request_is_interrupted(slow: tuple[Slow, Backend]) -> None:
    webui, backend = slow

    async def run() -> None:
        with ThreadPoolExecutor(2) as pool:
            task = asyncio.ensure_future(call_webui(backend, PATH, {}, timeout=30, pool=pool))
            await asyncio.to_thread(webui.began.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    assert webui.interrupted.is_set()


def test_a_request_over_its_time_is_interrupted(slow: tuple[Slow, Backend]) -> None:
    webui, backend = slow

    async def run() -> None:
        with ThreadPoolExecutor(2) as pool:
            await call_webui(backend, PATH, {}, timeout=0.3, pool=pool)

    with pytest.raises(DeadlineExceeded):
        asyncio.run(run())
    assert webui.interrupted.is_set()
