"""Probes are answered before the application is there, and nobody else is kept waiting."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest
import requests

from worker.serving.http_api.listener import HEAD_S, FirstAnswers, listen

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBES = frozenset({"/ping", "/healthz"})


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with listen("127.0.0.1", 0) as made:
        yield made


def url(listener: socket.socket, path: str) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}{path}"


@pytest.mark.parametrize("path", ["/ping", "/healthz", "/ping?from=balancer"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_probe_is_told_that_the_worker_starts(listener: socket.socket, method: str, path: str) -> None:
    with FirstAnswers(listener, PROBES):
        answer = requests.request(method, url(listener, path), timeout=5)
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(("method", "path"), [("POST", "/run"), ("POST", "/ping"), ("GET", "/"), ("HEAD", "/status/x")])
def test_everything_else_is_to_be_sent_again(listener: socket.socket, method: str, path: str) -> None:
    with FirstAnswers(listener, PROBES):
        answer = requests.request(method, url(listener, path), json={"input": {"prompt": "a" * 5000}}, timeout=5)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    if method != "HEAD":
        assert answer.json() == {"error": "the worker is starting"}


def test_clients_that_say_nothing_or_nonsense_keep_nobody_out(listener: socket.socket) -> None:
    silent = [socket.create_connection(listener.getsockname()) for _ in range(3)]
    nonsense = socket.create_connection(listener.getsockname())
    nonsense.sendall(b"\xff" * 20_000)
    gone = socket.create_connection(listener.getsockname())
    gone.close()
    with FirstAnswers(listener, PROBES):
        assert requests.get(url(listener, "/ping"), timeout=5).status_code == 204
    for connection in (*silent, nonsense):
        connection.close()


def test_it_ends_at_once_and_leaves_the_listener_to_the_application(listener: socket.socket) -> None:
    with FirstAnswers(listener, PROBES):
        waiting = socket.create_connection(listener.getsockname())
        began = time.monotonic()
    assert time.monotonic() - began < HEAD_S + 2
    late = socket.create_connection(listener.getsockname())
    late.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
    listener.settimeout(5)
    accepted = {listener.accept()[1]}
    if late.getsockname() not in accepted:  # the first one had not been looked at
        accepted.add(listener.accept()[1])
    assert late.getsockname() in accepted
    for connection in (waiting, late):
        connection.close()
