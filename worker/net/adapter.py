"""The seam between requests and the guard, and the one time limit that requests lacks.

requests' read time-out counts anew for each piece, so a server that sends a header byte now and then holds a thread for
hours. Here all headers of an answer have to arrive within one read time-out.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

if TYPE_CHECKING:
    from worker.net.guard import Guard


class _Watched:
    """Mixin for connections: headers that trickle in past the read time-out end the connection."""

    def getresponse(self) -> Any:
        sock, limit = getattr(self, "sock", None), getattr(self, "timeout", None)
        if sock is None or not isinstance(limit, int | float):
            return super().getresponse()  # type: ignore[misc]  # the connection it is mixed into has it
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


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTP


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPS


class GuardedAdapter(HTTPAdapter):
    """Transport of a requests session whose connections pass `guard`; no retries, up to `connections` kept per host."""

    def __init__(self, guard: Guard, connections: int) -> None:
        self._guard = guard
        super().__init__(pool_connections=connections, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._guard.pools(_HTTPPool, _HTTPSPool)
