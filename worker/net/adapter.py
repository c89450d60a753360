"""The seam between requests and the guard, and the one time limit that requests lacks.

requests' read time-out counts anew for each piece, so a server that sends a header byte now and then holds a thread for
hours. Here all headers of an answer have to arrive within one read time-out.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from worker.net.guard import Guard


class _OpenSockets:
    """The sockets that are open; those that nobody holds any more leave by themselves."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def add(self, sock: socket.socket) -> None:
        with self._mutex:
            self._sockets.add(sock)

    def shut(self) -> None:
        """End what comes over them; whoever waits for it gets an error at once."""
        with self._mutex:
            open_now = list(self._sockets)
        for sock in open_now:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class _Watched:
    """Mixin for connections: headers that trickle in past the read time-out end the connection."""

    open_sockets: _OpenSockets

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # the connection it is mixed into has it
        self.open_sockets.add(self.sock)  # type: ignore[attr-defined]  # as above

    def getresponse(self) -> Any:
        sock, limit = getattr(self, "sock", None), getattr(self, "timeout", None)
        if sock is None or not isinstance(limit, int | float):
            return super().getresponse()  # type: ignore[misc]  # as above
        expired = threading.Event()

        def cut() -> None:
            expired.set()
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # already gone

        timer = threading.Timer(limit, cut)
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()  # type: ignore[misc]  # as above
        except Exception:
            if expired.is_set():
                raise TimeoutError("the headers took too long") from None
            raise
        finally:
            timer.cancel()
        if expired.is_set():  # cut headers can look like whole ones
            response.close()
            raise TimeoutError("the headers took too long")
        return response


class _WatchedHTTP(_Watched, HTTPConnection):
    pass


class _WatchedHTTPS(_Watched, HTTPSConnection):
    pass


class GuardedAdapter(HTTPAdapter):
    """Transport of a requests session whose connections pass `guard`; no retries, up to `connections` kept per host."""

    def __init__(self, guard: Guard, connections: int) -> None:
        self._guard = guard
        self._open_sockets = _OpenSockets()
        super().__init__(pool_connections=connections, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        ours = {"open_sockets": self._open_sockets}
        http = type("_HTTPPool", (HTTPConnectionPool,), {"ConnectionCls": type("_HTTP", (_WatchedHTTP,), ours)})
        https = type("_HTTPSPool", (HTTPSConnectionPool,), {"ConnectionCls": type("_HTTPS", (_WatchedHTTPS,), ours)})
        self.poolmanager.pool_classes_by_scheme = self._guard.pools(http, https)

    def abort(self) -> None:
        """End every answer that is on its way."""
        self._open_sockets.shut()
