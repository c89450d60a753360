"""Answers that are read in the event loop, against real sockets."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loopback_http import Reply, Request, serve
from worker.errors import WebUIFailed, WebUIUnreachable
from worker.webui.arrival import arrival
from worker.webui.client import WebUIClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future
    from http.server import BaseHTTPRequestHandler

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n[1, 234]"


class Pool(ThreadPoolExecutor):
    """Counts what it was given."""

    used = 0

    def submit(self, *what: Any, **more: Any) -> Future[Any]:
        self.used += 1
        return super().submit(*what, **more)


@contextmanager
def warm(script: Callable[[Request], Reply]) -> Iterator[WebUIClient]:
    """A client with a connection that stands."""
    with serve(lambda request: Reply(body=b"0") if request.path == "/warm" else script(request)) as server:
        client = WebUIClient(server.url)
        client.get("/warm")
        yield client
        client.close()


def ask(client: WebUIClient, pool: Executor, *, timeout: float = 2.0, patience_s: float = 5.0) -> Any:
    async def play() -> Any:
        begun = client.begin("/x", {"n": 1})
        assert begun is not None
        finish = partial(client.post, "/x", {"n": 1}, timeout=timeout, begun=begun)
        return await arrival(client, begun, finish=finish, pool=pool, patience_s=patience_s)

    return asyncio.run(play())


def _pieces(*pieces: bytes) -> Callable[[Request], Reply]:
    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = False
        for piece in pieces:
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(0.02)  # the kernel would join the pieces, and which of them were read nobody tells

    return lambda _: Reply(raw=write)


def test_a_small_answer_takes_no_thread_and_leaves_its_connection_for_the_next() -> None:
    ports: set[int] = set()

    def script(request: Request) -> Reply:
        return Reply(body=request.body)

    with Pool(1) as pool, warm(script) as client:
        for _ in range(3):
            assert ask(client, pool) == {"n": 1}
            begun = client.begin("/x", {"n": 2})
            assert begun is not None
            ports.add(begun.connection.getsockname()[1])
            assert client.post("/x", timeout=1, begun=begun) == {"n": 2}
        assert pool.used == 0
        assert len(ports) == 1


@pytest.mark.parametrize("cut", [1, 30, len(WHOLE) - 8, len(WHOLE) - 3])
def test_an_answer_that_comes_in_pieces_is_put_together(cut: int) -> None:
    with Pool(1) as pool, warm(_pieces(WHOLE[:cut], WHOLE[cut:])) as client:
        assert [ask(client, pool) for _ in range(2)] == [[1, 234]] * 2


@pytest.mark.parametrize("size", [70_000, 3_000_000])
def test_a_large_answer_is_left_to_a_thread(size: int) -> None:
    with Pool(1) as pool, warm(lambda _: Reply(body=json.dumps("a" * size).encode())) as client:
        assert ask(client, pool) == "a" * size
        assert pool.used == 1


def test_an_error_is_left_to_a_thread_which_may_wait_for_what_it_means() -> None:
    with Pool(1) as pool, warm(lambda _: Reply(500, b'{"error": "x", "errors": "out of memory"}')) as client:
        with pytest.raises(WebUIFailed, match="out of memory"):
            ask(client, pool)
        assert pool.used == 1


def test_an_answer_that_is_not_json_is_an_error_of_the_webui() -> None:
    with Pool(1) as pool, warm(lambda _: Reply(body=b"<html>")) as client, pytest.raises(WebUIFailed, match="not JSON"):
        ask(client, pool)


@pytest.mark.parametrize("said", [b"", WHOLE[:-8], WHOLE[:-1]])
def test_an_answer_that_breaks_off_is_told_apart(said: bytes) -> None:
    def hang_up(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(said)

    with Pool(1) as pool, warm(lambda _: Reply(raw=hang_up)) as client:
        with pytest.raises(WebUIUnreachable) as caught:
            ask(client, pool)
        assert caught.value.details["sent"] is True


def test_silence_is_left_to_a_thread_after_a_while() -> None:
    with Pool(1) as pool, warm(lambda _: Reply(raw=lambda _: time.sleep(0.5))) as client:  # silence wakes nobody
        with pytest.raises(WebUIUnreachable) as caught:
            ask(client, pool, timeout=0.1, patience_s=0.1)
        assert caught.value.details == {"sent": True, "timeout": True}
        assert pool.used == 1


def test_a_request_that_was_not_begun_is_sent_by_a_thread() -> None:
    async def play(client: WebUIClient, pool: Executor) -> Any:
        finish = partial(client.post, "/x", {"n": 1}, timeout=1)
        return await arrival(client, None, finish=finish, pool=pool, patience_s=1)

    with Pool(1) as pool, warm(lambda request: Reply(body=request.body)) as client:
        assert asyncio.run(play(client, pool)) == {"n": 1}


@pytest.mark.parametrize("way", ["in the loop", "in a thread", "failed"])
def test_an_answer_that_nobody_waits_for_any_more_is_read_in_peace(way: str) -> None:
    go = threading.Event()
    complaints: list[Any] = []

    def script(_: Request) -> Reply:
        go.wait(5)
        return Reply(body={"in the loop": b"[1]", "in a thread": b'"' + b"a" * 70_000 + b'"', "failed": b"<html>"}[way])

    async def play(client: WebUIClient, pool: Pool) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        begun, read = client.begin("/x", {"n": 1}), asyncio.Event()
        assert begun is not None

        def finish() -> Any:
            try:
                return client.post("/x", timeout=2, begun=begun)
            finally:
                loop.call_soon_threadsafe(read.set)

        answer = arrival(client, begun, finish=finish, pool=pool, patience_s=5)
        answer.cancel()
        go.set()
        await asyncio.wait_for(read.wait(), 5)
        await loop.run_in_executor(pool, lambda: None)  # behind it: what it told the loop has been heard
        await asyncio.sleep(0)
        assert answer.cancelled()

    with Pool(1) as pool, warm(script) as client:
        asyncio.run(play(client, pool))
    assert complaints == []
