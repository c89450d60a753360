"""The listening socket, and the answers to probes of its first moments.

A load balancer counts a worker as coming from its first answer on. The web framework and all that it serves take most
of a second to import: until they are there, a thread answers.
"""

from __future__ import annotations

import select
import socket
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

PING_PATH = "/ping"
HEAD_S = 0.2
"""For a request's head; the next client waits so long at most."""
MOST_HEAD_BYTES = 8192
_STARTING = b'{"error":"the worker is starting"}'


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0: the system chooses.

    Raises:
        OSError: it can't be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=1024)
    # Connections inherit it. asyncio sets it only on sockets whose protocol is named, and without it the body of an
    # answer waits 40 ms for the client to acknowledge its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def listening_problem(error: OSError) -> str:
    """Return why a port can't be listened on, for an error message."""
    return error.strerror or str(error)


class FirstAnswers:
    """Answers on a listener while the application is put together: a context manager.

    Probes are told that the worker starts (204); everything else is to be sent again in a moment (503). The listener is
    the application's from the context's end on.

    Args:
        listener: See `listen`.
        probes: The paths that are answered with 204.
    """

    def __init__(self, listener: socket.socket, probes: frozenset[str]) -> None:
        self._listener = listener
        self._probes = probes
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="first-answers", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._wake.close()
        self._thread.join()
        self._woken.close()

    def _run(self) -> None:
        while True:
            readable, _, _ = select.select([self._listener, self._woken], [], [])
            if self._woken in readable:
                return
            try:
                connection, _ = self._listener.accept()
            except OSError:
                continue  # the client has gone already
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(HEAD_S)
            head = b""
            while b"\r\n\r\n" not in head and len(head) < MOST_HEAD_BYTES:
                piece = connection.recv(MOST_HEAD_BYTES)
                if not piece:
                    return
                head += piece
            connection.sendall(self._response(head))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(MOST_HEAD_BYTES)  # closed with bytes unread, the answer could be lost on its way
        except OSError:
            return  # too slow, or gone: it may come again

    def _response(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0].decode("latin-1")
        if path in self._probes and method in {b"GET", b"HEAD"}:
            return _message(HTTPStatus.NO_CONTENT, b"")
        return _message(HTTPStatus.SERVICE_UNAVAILABLE, b"" if method == b"HEAD" else _STARTING)


def _message(status: HTTPStatus, body: bytes) -> bytes:
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Connection: close"]
    if status != HTTPStatus.NO_CONTENT:
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json", "Retry-After: 5"]
    return "\r\n".join([*lines, "", ""]).encode() + body
