"""Results posted to receivers that hang, trickle, answer without end, or refuse."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
import tracemalloc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loopback_http import Reply, Request, serve
from tests.support.pace import stretched
from worker.serving import webhook_sender
from worker.serving.webhook_sender import WebhookSender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler

RESULT = {"id": "j", "status": "COMPLETED", "output": {"images": ["x" * 50_000], "seeds": [1]}}


class Sender:
    """A sender whose pauses are noted and not waited for."""

    def __init__(self, secret: str | None = None, allowed: tuple[str, ...] = ("127.0.0.1",)) -> None:
        self.pauses: list[float] = []
        self.real = WebhookSender(allowed, secret, now=time.time, sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def deliver(self, *urls: str, result: dict[str, Any] | None = None, grace_s: float = 30.0) -> None:
        async def story() -> None:
            for url in urls:
                self.real.post(url, "j", result or RESULT)
            await self.real.close(grace_s)

        asyncio.run(story())


@contextmanager
def silent() -> Iterator[str]:
    """A receiver that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/hook"


def statuses(*codes: int, headers: dict[str, str] | None = None) -> Callable[[Request], Reply]:
    left = list(codes)
    return lambda _: Reply(left.pop(0) if len(left) > 1 else left[0], b"", headers or {})


@pytest.mark.parametrize(
    ("codes", "tries"),
    [
        ((200,), 1),
        ((204,), 1),
        ((500, 503, 200), 3),
        ((429, 200), 2),
        ((408, 200), 2),
        ((500,), 4),
        ((404,), 1),
        ((400,), 1),
        ((302,), 1),
        ((501,), 1),
    ],
)
def test_a_result_is_posted_again_where_that_may_help(codes: tuple[int, ...], tries: int) -> None:
    with serve(statuses(*codes)) as receiver:
        Sender().deliver(receiver.url)
        assert len(receiver.seen) == tries


def test_a_receiver_may_ask_for_a_pause_but_not_for_ever() -> None:
    for asked, pause in (("7", 7.0), ("99999", 60.0), ("soon", 1.0)):
        sender = Sender()
        with serve(statuses(429, 200, headers={"Retry-After": asked})) as receiver:
            sender.deliver(receiver.url)
        assert sender.pauses == [pause]


def test_a_receiver_that_takes_no_large_body_gets_the_result_without_pictures() -> None:
    def script(request: Request) -> Reply:
        return Reply(413 if len(request.body) > 10_000 else 200)

    with serve(script) as receiver:
        Sender(secret="plain").deliver(receiver.url)
        first, second = receiver.seen
    told = json.loads(second.body)
    assert (told["truncated"], told["output"]["seeds"], told["output"]["images"]) == (True, [1], [])
    assert second.headers["webhook-signature"] != first.headers["webhook-signature"]


def test_one_that_takes_no_body_at_all_is_given_up() -> None:
    with serve(statuses(413)) as receiver:
        Sender().deliver(receiver.url)
        assert len(receiver.seen) == 2


def test_nothing_of_an_answer_is_read_but_its_status() -> None:
    sent = 0

    def flood(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n")
        try:
            while sent < 500_000_000:
                handler.wfile.write(b"x" * 1_000_000)
                sent += 1_000_000
        except OSError:
            return

    tracemalloc.start()
    try:
        with serve(lambda _: Reply(raw=flood)) as receiver:
            Sender().deliver(receiver.url)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert sent < 50_000_000


def test_interim_answers_without_end_are_not_waited_through() -> None:
    sent = 0

    def flood(handler: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        try:
            while sent < 100_000_000:
                sent += handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        except OSError:
            return

    with serve(lambda _: Reply(raw=flood)) as receiver:
        Sender().deliver(receiver.url)
        assert len(receiver.seen) == 1
    assert sent < 10_000_000


def test_a_few_interim_answers_before_the_one_that_counts_are_no_harm() -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        early = b"HTTP/1.1 102 Processing\r\n\r\n" * 2 + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        handler.wfile.write(early + b"HTTP/1.1 204 No Content\r\n\r\n")

    sender = Sender()
    with serve(lambda _: Reply(raw=answer)) as receiver:
        sender.deliver(receiver.url)
        assert (len(receiver.seen), sender.pauses) == (1, [])


def test_an_answer_that_is_not_http_is_not_asked_for_again() -> None:
    with serve(lambda _: Reply(raw=lambda handler: handler.wfile.write(b"SMTP ready\r\n\r\n"))) as receiver:  # type: ignore[arg-type]
        Sender().deliver(receiver.url)
        assert len(receiver.seen) == 1


def test_headers_without_end_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sender, "EXCHANGE_S", 0.5)
    over = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        try:
            while not over.wait(0.05):
                handler.wfile.write(b"X-More: x\r\n")
        except OSError:
            return

    sender = Sender()
    began = time.monotonic()
    with serve(lambda _: Reply(raw=trickle)) as receiver:
        sender.deliver(receiver.url)
    over.set()
    assert len(sender.pauses) == 3
    assert time.monotonic() - began < stretched(10)


def test_receivers_that_hang_do_not_hold_up_another() -> None:
    took = threading.Event()

    def take(_: Request) -> Reply:
        took.set()
        return Reply(200)

    async def story(dead: str, alive: str) -> None:
        sender = Sender().real
        for _ in range(50):
            sender.post(dead, "dead", RESULT)
        sender.post(alive, "alive", RESULT)
        assert await asyncio.to_thread(took.wait, 5)
        began = time.monotonic()
        await sender.close(0.2)
        assert time.monotonic() - began < stretched(3), "the end does not wait for those that hang"

    with silent() as dead, serve(take) as receiver:
        asyncio.run(story(dead, receiver.url))


def test_what_waits_is_bounded_by_host_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sender, "PER_HOST", 3)
    monkeypatch.setattr(webhook_sender, "MAX_PENDING_BYTES", 270_000)

    async def story(first: str, second: str) -> tuple[int, int]:
        sender = Sender().real
        for _ in range(10):
            sender.post(first, "j", RESULT)
        by_host = len(sender._deliveries)
        for _ in range(10):
            sender.post(second, "j", RESULT)
        in_all = len(sender._deliveries)
        await sender.close(0)
        assert (sender._pending_bytes, dict(sender._pending_by_host)) == (0, {})
        return by_host, in_all

    with silent() as first, silent() as second:
        assert asyncio.run(story(first, second)) == (3, 5)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "[::1]", "[::ffff:127.0.0.1]", "localhost", "127.1"]
)
def test_no_form_of_an_inner_address_is_connected_to(host: str) -> None:
    with serve(statuses(200)) as receiver:
        sender = Sender(allowed=())
        sender.deliver(f"http://{host}:{receiver.port}/hook")
        assert receiver.seen == []
        assert sender.pauses == [], "refused, not unreachable"


def test_a_name_that_nobody_knows_is_tried_again() -> None:
    sender = Sender()
    sender.deliver("http://receiver.invalid/hook")
    assert sender.pauses == [1.0, 5.0, 25.0]
