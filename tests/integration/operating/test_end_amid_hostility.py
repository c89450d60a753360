"""SIGTERM while model hosts trickle, receivers of webhooks hang and clients never finish: the worker ends in time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from tests.support.served import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GRACE_S = 2.0
MARGIN_S = 15.0
"""For what comes after the jobs: webhooks as long again, the WebUI's end, and a busy machine."""
JOB = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64}
UNFINISHED = b"POST /runsync HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + (500).to_bytes(8, "little") + b"{"


@contextlib.contextmanager
def host(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[tuple[str, threading.Event]]:
    """A server that does this with every connection; its address, and an event that is set once somebody has come."""
    over, came = threading.Event(), threading.Event()

    def attend(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            came.set()
            behave(connection, over)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=attend, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", came
        over.set()


def trickle(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(HEAD)
    while not over.wait(0.2):
        connection.sendall(b" ")


def trickle_head(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not over.wait(0.5):
        connection.sendall(b"X-More: yes\r\n")


def hang(_: socket.socket, over: threading.Event) -> None:
    over.wait(60)


@pytest.mark.slow
def test_nothing_hostile_holds_up_the_end(tmp_path: Path) -> None:
    settings = {"ALLOW_HOSTS": "127.0.0.1", "STOP_GRACE_S": f"{GRACE_S:g}", "CONCURRENCY": "6"}
    settings |= {"MODEL_DOWNLOADS": "4", "MODEL_FREE_BYTES": "0"}
    with (
        host(trickle) as body,
        host(trickle_head) as head,
        host(hang) as silent,
        host(hang) as receiver,
        host(trickle) as picture,
        host(hang) as mute,
        serving(tmp_path, STANDIN_EXTENSIONS="", **settings) as served,
    ):
        told = {"input": JOB, "webhook": f"{receiver[0]}/hook"}
        requests.post(f"{served.url}/run", json=told, timeout=10).raise_for_status()
        for number, (address, _) in enumerate((body, head, silent)):
            job = {"input": {**JOB, "loras": [f"{address}/{number}.safetensors"]}}
            requests.post(f"{served.url}/run", json=job, timeout=10).raise_for_status()
        for address, _ in (picture, mute):
            job = {"input": {**JOB, "type": "img2img", "init_images": [f"{address}/start.png"]}}
            requests.post(f"{served.url}/run", json=job, timeout=10).raise_for_status()
        assert all(came.wait(30) for _, came in (body, head, silent, receiver, picture, mute))
        port = int(served.url.rpartition(":")[2])
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
        for client in clients[:30]:
            client.sendall(UNFINISHED)
        began = time.monotonic()
        served.process.terminate()
        assert served.process.wait(60) == 0, served.process.log
        assert time.monotonic() - began < 2 * GRACE_S + MARGIN_S
        assert "Traceback" not in served.process.log
        for client in clients:
            client.close()
