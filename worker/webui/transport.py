"""HTTP/1.1 to the WebUI over connections that are kept, with one system call to send.

`requests` takes 0.7 ms more for each request of a job that has 2 ms in all. Nothing is followed, cached, retried or
taken from the environment here.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
import zlib
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from worker.webui import replies
from worker.webui.replies import Begun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.webui.replies import Reply

IDLE_LIMIT_S = 15.0
"""The WebUI closes a connection after 30 s, and a POST that meets such a close can't be told from one acted on."""
_JOINED = 65536
"""Bodies up to here go out in one piece with their headers."""
_AT_ONCE = 8192
"""Bodies up to here fit into any connection's buffer."""
_URL_SIGNS = "/?&=%:;,+@!$'()*[]~"


class ExchangeFailed(Exception):
    """No whole answer came.

    Attributes:
        sent: The request may have been acted on.
        timed_out: Nothing came for as long as was to be waited.
    """

    def __init__(self, why: str, *, sent: bool, timed_out: bool = False) -> None:
        super().__init__(why)
        self.sent = sent
        self.timed_out = timed_out


@dataclass(frozen=True, slots=True)
class _Kept:
    connection: socket.socket
    since: float


class Transport:
    """Requests to one server; thread-safe.

    Args:
        url: ``http://host:port``, with a path where the server lies below one; without a trailing slash.
        headers: Of every request.
        connect_timeout: Seconds for a connection.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        connect_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._secure else 80)
        self._base = parts.path.rstrip("/")
        lines = {"Host": parts.netloc.rpartition("@")[2], **headers}
        self._head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._connect_timeout = connect_timeout
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: deque[_Kept] = deque()

    def exchange(self, method: str, path: str, body: bytes | None, *, timeout: float) -> Reply:
        """Send one request, once, and return the answer.

        Args:
            method: In capitals.
            path: With its query.
            body: JSON.
            timeout: Longest silence, in seconds.

        Raises:
            ExchangeFailed: see there.
        """
        connection = self._reusable() or self._connect()
        connection.settimeout(timeout)
        return self.finish(self._begun(connection, method, path, body), timeout=timeout)

    def begin(self, method: str, path: str, body: bytes | None) -> Begun | None:
        """Send a small request over a connection that stands, which can't block; None where there is no such one."""
        connection = self._reusable() if len(body or b"") <= _AT_ONCE and not self._secure else None
        return None if connection is None else self._begun(connection, method, path, body)

    def arrived(self, begun: Begun) -> bool | None:
        """Take what has come of the answer to a request that was begun, without waiting.

        Return True when all of it is there and it tells of a success, so that `finish` does not block; None while more
        of it has to come; False where it is for a thread to `finish`: a large answer, an unusual one, a failure.
        """
        try:
            coming = begun.coming or replies.usual(begun, socket.MSG_DONTWAIT)
            if coming is None or len(coming.reply.content) > _JOINED or coming.reply.status >= 400:  # noqa: PLR2004 - HTTP's
                return False
            coming.fill(begun.connection, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return False
        return True

    def finish(self, begun: Begun, *, timeout: float) -> Reply:
        """Return the answer to a request that was begun; raises like `exchange`."""
        connection = begun.connection
        if begun.failure is not None:
            connection.close()
            raise ExchangeFailed(str(begun.failure), sent=True) from begun.failure
        try:
            if begun.coming is None or not begun.coming.is_whole:
                connection.settimeout(timeout)
            coming = begun.coming or replies.usual(begun)
            if coming is not None:
                coming.fill(connection)
                reply, keep = coming.reply, coming.keep
            else:
                reply, keep = replies.any_reply(begun)
        except TimeoutError as failure:
            connection.close()
            raise ExchangeFailed(f"silence for {timeout:g} s", sent=True, timed_out=True) from failure
        except (OSError, HTTPException, EOFError, zlib.error) as failure:
            connection.close()
            raise ExchangeFailed(str(failure), sent=True) from failure
        except BaseException:
            connection.close()
            raise
        if keep:
            self._keep(connection)
        else:
            connection.close()
        return reply

    def close(self) -> None:
        """Close every connection that is not in use."""
        with self._lock:
            idle, self._idle = self._idle, deque()
        for kept in idle:
            kept.connection.close()

    def _begun(self, connection: socket.socket, method: str, path: str, body: bytes | None) -> Begun:
        target = _target(self._base + path)
        about = f"Content-Length: {len(body or b'')}\r\n" if method == "POST" else ""
        about += "Content-Type: application/json\r\n" if body is not None else ""
        head = f"{method} {target} HTTP/1.1\r\n{self._head}{about}\r\n".encode("latin-1")
        pieces = [head + (body or b"")] if len(body or b"") <= _JOINED else [head, body or b""]
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError as failure:
            return Begun(connection, method, failure)
        return Begun(connection, method)

    def _connect(self) -> socket.socket:
        try:
            connection = socket.create_connection((self._host, self._port), self._connect_timeout)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return self._secured(connection) if self._secure else connection
        except TimeoutError as failure:
            raise ExchangeFailed("no connection in time", sent=False, timed_out=True) from failure
        except OSError as failure:
            raise ExchangeFailed(failure.strerror or str(failure), sent=False) from failure

    def _secured(self, connection: socket.socket) -> socket.socket:
        import certifi  # noqa: PLC0415 - not needed for a WebUI on loopback

        try:
            context = ssl.create_default_context(cafile=certifi.where())
            return context.wrap_socket(connection, server_hostname=self._host)
        except BaseException:
            connection.close()
            raise

    def _reusable(self) -> socket.socket | None:
        """Return a connection that is open and was not idle for long."""
        while True:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            if kept is None:
                return None
            if self._clock() - kept.since <= IDLE_LIMIT_S and not _was_closed(kept.connection):
                return kept.connection
            kept.connection.close()

    def _keep(self, connection: socket.socket) -> None:
        if connection.gettimeout() is not None:
            connection.settimeout(None)  # what is sent at once and looked at without waiting needs no limit
        now = self._clock()
        with self._lock:
            self._idle.append(_Kept(connection, now))
            old = [kept for kept in self._idle if now - kept.since > IDLE_LIMIT_S]
            for kept in old:
                self._idle.remove(kept)
        for kept in old:
            kept.connection.close()


@lru_cache(maxsize=64)
def _target(path: str) -> str:
    return quote(path, safe=_URL_SIGNS)


def _was_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it, or sent what nobody asked for: both show as something to read."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
