"""HTTP client of the WebUI: blocking, thread-safe, with A1111's error shapes read.

A request for pictures is sent once. Listings are asked for again when a connection breaks, since that can't make a
second picture. Nothing is redirected, and no proxy is taken from the environment.
"""

from __future__ import annotations

import socket
import threading
import time
import weakref
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote, urlsplit

import certifi
import orjson
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout, make_headers
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from worker.errors import WebUIFailed, WebUIRejected, WebUIUnreachable
from worker.webui.liveness import while_answering

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from urllib3 import BaseHTTPResponse

LISTING_TIMEOUT_S = 20.0
IDLE_LIMIT_S = 15.0
"""The WebUI closes a connection after 30 s, and a POST that meets such a close can't be told from one acted on."""
CONNECTIONS = 16
"""Kept open at most; more than there are threads that use them."""
_URL_SIGNS = "/?&=%:;,+@!$'()*[]~"


@dataclass(frozen=True, slots=True)
class UpstreamError:
    """The contents of an error answer.

    Attributes:
        status: HTTP status.
        kind: Exception class (``OutOfMemoryError``) or empty.
        message: Its words, one line per problem.
    """

    status: int
    kind: str
    message: str


def read_error(status: int, body: bytes) -> UpstreamError:
    """Return the contents of an error answer, in any of A1111's three shapes or none of them."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return UpstreamError(status, "", body[:500].decode("utf-8", "replace").strip())
    if not isinstance(content, dict):
        return UpstreamError(status, "", str(content)[:500])
    detail = content.get("detail")
    if isinstance(detail, list):
        said = []
        for item in detail:
            where = ".".join(str(part) for part in item.get("loc", ())[1:]) if isinstance(item, dict) else ""
            what = str(item.get("msg", item)) if isinstance(item, dict) else str(item)
            said.append(f"{where}: {what}" if where else what)
        return UpstreamError(status, str(content.get("error", "")), "; ".join(said))
    message = str(content.get("errors") or detail or content.get("body") or "")
    return UpstreamError(status, str(content.get("error", "")), message)


class NotConnectedError(Exception):
    """No connection could be made, so nothing was sent; the cause tells why."""


class _Connection(HTTPConnection):
    """A connection that is not used again after it was idle for long, and that another thread can break."""

    def __init__(
        self, *arguments: Any, clock: Callable[[], float], opened: weakref.WeakSet[_Connection], **more: Any
    ) -> None:
        super().__init__(*arguments, **more)
        self._clock = clock
        self._opened = opened
        self._used = clock()

    def connect(self) -> None:
        try:
            super().connect()
        except (HTTPError, OSError) as failure:
            raise NotConnectedError from failure
        self._opened.add(self)

    def getresponse(self) -> Any:
        response = super().getresponse()
        self._used = self._clock()
        return response

    @property
    def is_connected(self) -> bool:
        return super().is_connected and self._clock() - self._used <= IDLE_LIMIT_S

    def break_off(self) -> None:
        """Wake a thread that reads from it or writes to it: it gets an error."""
        connection = cast("socket.socket | None", self.sock)
        if connection is not None:
            with suppress(OSError):  # it is closed already
                connection.shutdown(socket.SHUT_RDWR)


class _SecureConnection(_Connection, HTTPSConnection):
    """The same over TLS."""


class WebUIClient:
    """A1111's API on one base URL.

    Args:
        url: Without a trailing slash; ``user:password@`` for a WebUI that was started with ``--api-auth``.
        connect_timeout: Seconds for a connection.
        silence_s: Seconds without any answer after which requests are broken off; None: no such limit.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float = 5.0,
        silence_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        self.url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._base = parts.path.rstrip("/")
        self._connect_timeout = connect_timeout
        self._silence_s = silence_s
        # identity: gzip on loopback costs 65 ms for a picture of 2.4 MB.
        self._headers = {"Accept-Encoding": "identity", "Accept": "application/json"}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers |= make_headers(basic_auth=pair)
        self._closed = threading.Event()
        self._opened: weakref.WeakSet[_Connection] = weakref.WeakSet()
        tracked: dict[str, Any] = {"clock": clock, "opened": self._opened}
        if parts.scheme == "https":
            self._pool: HTTPConnectionPool = HTTPSConnectionPool(
                parts.hostname or "", parts.port, maxsize=CONNECTIONS, ca_certs=certifi.where(), **tracked
            )
            self._pool.ConnectionCls = _SecureConnection
        else:
            self._pool = HTTPConnectionPool(parts.hostname or "", parts.port, maxsize=CONNECTIONS, **tracked)
            self._pool.ConnectionCls = _Connection

    def get(self, path: str, *, timeout: float = LISTING_TIMEOUT_S, tries: int = 3) -> Any:
        """Return the JSON at `path`; after a broken connection it is asked for again, `tries` times in all.

        Raises:
            WebUIUnreachable: nothing answered.
            WebUIFailed: status 5xx, or not JSON.
            WebUIRejected: status 4xx.
        """
        for attempt in Retrying(
            retry=retry_if_exception(self._may_ask_again),
            stop=stop_after_attempt(tries),
            wait=wait_exponential(multiplier=0.05, max=0.5),
            reraise=True,
        ):
            with attempt:
                return self._exchange("GET", path, None, timeout)
        raise AssertionError("tenacity re-raises")

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout: float | None,
        watch: bool = True,
        silence_s: float | None = None,
    ) -> Any:
        """Send `body` once and return the JSON that comes back.

        Args:
            path: With its query.
            body: JSON.
            timeout: Longest silence on this connection, in seconds; None: no limit, until somebody calls `abort`.
            watch: Ask meanwhile whether the WebUI answers at all, where there is a limit to its silence; not needed
                by callers that look at its progress themselves.
            silence_s: That limit where the client has none of its own: of a request that loads no checkpoint.

        Raises:
            WebUIUnreachable: no whole answer came; `details.sent` tells whether the request may have been acted on.
            WebUIFailed: status 5xx, or not JSON. `details` has `status`, `kind` and `upstream`.
            WebUIRejected: status 4xx.
        """
        send = partial(self._exchange, "POST", path, body, timeout)
        limit = silence_s if self._silence_s is None else self._silence_s
        if not watch or limit is None or (timeout is not None and timeout <= limit):
            return send()
        return while_answering(self, send, silence_s=limit)

    def abort(self) -> None:
        """Break every connection off: threads that wait for an answer get WebUIUnreachable at once."""
        for connection in list(self._opened):
            connection.break_off()

    def close(self) -> None:
        """Abort every request and refuse later ones."""
        self._closed.set()
        self.abort()
        self._pool.close()

    def _may_ask_again(self, error: BaseException) -> bool:
        """Return whether a question is worth repeating: not after silence, which would last as long again."""
        return isinstance(error, WebUIUnreachable) and not error.details.get("timeout") and not self._closed.is_set()

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float | None) -> Any:
        unreachable = partial(self._unreachable, f"{method} {path}", timeout)
        if self._closed.is_set():
            raise WebUIUnreachable("the connection to the WebUI was closed", details={"sent": False})
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            reply = self._pool.request(
                method,
                quote(self._base + path, safe=_URL_SIGNS),
                body=None if body is None else orjson.dumps(body),
                headers=headers,
                retries=False,
                redirect=False,
                timeout=Timeout(connect=self._connect_timeout, read=timeout),
            )
        except NotConnectedError as failure:
            raise unreachable(failure.__cause__, sent=False) from failure.__cause__
        except (HTTPError, OSError) as failure:
            raise unreachable(failure, sent=True) from failure
        return _content(reply, f"{method} {path}")

    def _unreachable(
        self, request: str, timeout: float | None, failure: BaseException | None, *, sent: bool
    ) -> WebUIUnreachable:
        if sent and isinstance(failure, ReadTimeoutError):
            said, details = f"did not answer {request} within {timeout:g} s", {"sent": True, "timeout": True}
        elif sent:
            said, details = f"broke off its answer to {request}", {"sent": True}
        elif isinstance(failure, ConnectTimeoutError) and not isinstance(failure, NewConnectionError):
            said = f"did not accept a connection within {self._connect_timeout:g} s"
            details = {"sent": False, "timeout": True}
        elif isinstance(failure, HTTPError) and isinstance(failure.__cause__, ConnectionRefusedError):
            said, details = "refused the connection", {"sent": False, "refused": True}
        else:
            said, details = f"can't be connected to ({_reason(failure)})", {"sent": False}
        return WebUIUnreachable(f"the WebUI {said}", details=details)


def _reason(failure: BaseException | None) -> str:
    cause = failure.__cause__ if failure is not None else None
    told = cause if isinstance(cause, OSError) else failure
    return str(getattr(told, "strerror", None) or told)


def _content(reply: BaseHTTPResponse, request: str) -> Any:
    """Return the JSON of a reply; raises WebUIFailed or WebUIRejected in place of an error answer."""
    if reply.status >= 400:  # noqa: PLR2004 - HTTP's own boundary
        raise _as_error(request, read_error(reply.status, reply.data))
    try:
        return orjson.loads(reply.data)
    except orjson.JSONDecodeError as failure:
        raise WebUIFailed(
            f"the WebUI's answer to {request} is not JSON",
            details={"status": reply.status, "kind": "NotJSON", "upstream": ""},
        ) from failure


def _as_error(request: str, upstream: UpstreamError) -> WebUIFailed | WebUIRejected:
    details = {"status": upstream.status, "kind": upstream.kind, "upstream": upstream.message}
    words = ": ".join(part for part in (upstream.kind, upstream.message) if part) or "no explanation"
    if upstream.status < 500:  # noqa: PLR2004 - HTTP's own boundary
        return WebUIRejected(f"the WebUI refused {request} ({upstream.status}): {words}", details=details)
    return WebUIFailed(f"the WebUI failed on {request} ({upstream.status}): {words}", details=details)
