"""HTTP to the WebUI: blocking, thread-safe, nothing but transport and A1111's error shapes.

A request for a picture is sent once. Listings are asked again when a connection breaks, since that can't make a
second picture.
"""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from worker.errors import WebUIFailed, WebUIRejected, WebUIUnreachable
from worker.webui import wire
from worker.webui.transport import ExchangeFailed, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.webui.replies import Begun

LISTING_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Upstream:
    """What an error answer of the WebUI says.

    Attributes:
        status: HTTP status.
        kind: Exception class (``OutOfMemoryError``) or empty.
        message: Its words, one line per problem.
    """

    status: int
    kind: str
    message: str


def read_error(status: int, body: bytes | bytearray) -> Upstream:
    """Return what an error answer says, in any of A1111's three shapes or none of them."""
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Upstream(status, "", body[:500].decode("utf-8", "replace").strip())
    if not isinstance(content, dict):
        return Upstream(status, "", str(content)[:500])
    detail = content.get("detail")
    if isinstance(detail, list):
        said = []
        for item in detail:
            where = ".".join(str(part) for part in item.get("loc", ())[1:]) if isinstance(item, dict) else ""
            what = str(item.get("msg", item)) if isinstance(item, dict) else str(item)
            said.append(f"{where}: {what}" if where else what)
        return Upstream(status, str(content.get("error", "")), "; ".join(said))
    message = str(content.get("errors") or detail or content.get("body") or "")
    return Upstream(status, str(content.get("error", "")), message)


class WebUIClient:
    """A1111's API on one base URL.

    Args:
        url: Without a trailing slash.
        connect_timeout: Seconds for a TCP connection.
        auth: ``(user, password)`` when the WebUI was started with ``--api-auth``.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float = 5.0,
        auth: tuple[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._connect_timeout = connect_timeout
        # identity: gzip on loopback costs 65 ms for a picture of 2.4 MB.
        headers = {"Accept-Encoding": "identity", "Accept": "application/json"}
        if auth is not None:
            pair = base64.b64encode(":".join(auth).encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        self.transport = Transport(url, headers=headers, connect_timeout=connect_timeout, clock=clock)

    def get(self, path: str, *, timeout: float = LISTING_TIMEOUT_S, tries: int = 3) -> Any:
        """Return the JSON at `path`; a broken connection is tried again, `tries` times in all.

        Raises:
            WebUIUnreachable: nothing answered.
            WebUIFailed: status 5xx, or not JSON.
            WebUIRejected: status 4xx.
        """
        for attempt in Retrying(
            retry=retry_if_exception_type(WebUIUnreachable),
            stop=stop_after_attempt(tries),
            wait=wait_exponential(multiplier=0.05, max=0.5),
            reraise=True,
        ):
            with attempt:
                return self._send("GET", path, None, timeout)
        raise AssertionError("tenacity re-raises")

    def begin(self, path: str, body: Mapping[str, Any]) -> Begun | None:
        """Send a small `body` at once, to be finished by `post`; None where that might block. Never raises."""
        return self.transport.begin("POST", path, orjson.dumps(body))

    def arrived(self, begun: Begun) -> bool | None:
        """Take what has come of the answer, without waiting; see `Transport.arrived`."""
        return self.transport.arrived(begun)

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, *, timeout: float, begun: Begun | None = None
    ) -> Any:
        """Send `body` once, unless `begin` has done so, and return the JSON that comes back.

        Raises:
            WebUIUnreachable: no whole answer came; `details.sent` tells whether the request may have been acted on.
            WebUIFailed: status 5xx, or not JSON. `details` has `status`, `kind` and `upstream`.
            WebUIRejected: status 4xx.
        """
        return self._send("POST", path, body, timeout, begun)

    def close(self) -> None:
        """Close every connection."""
        self.transport.close()

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float, begun: Begun | None = None
    ) -> Any:
        try:
            if begun is not None:
                reply = self.transport.finish(begun, timeout=timeout)
            else:
                content = None if body is None else orjson.dumps(body)
                reply = self.transport.exchange(method, path, content, timeout=timeout)
        except ExchangeFailed as failure:
            raise self._unreachable(failure, f"{method} {path}", timeout) from failure
        if reply.status >= 400:  # noqa: PLR2004 - HTTP's own boundary
            raise _as_error(method, path, read_error(reply.status, reply.content))
        try:
            return wire.loads(reply.content)
        except orjson.JSONDecodeError as failure:
            raise WebUIFailed(
                f"the WebUI's answer to {method} {path} is not JSON",
                details={"status": reply.status, "kind": "NotJSON", "upstream": ""},
            ) from failure

    def _unreachable(self, failure: ExchangeFailed, request: str, timeout: float) -> WebUIUnreachable:
        if failure.sent and failure.timed_out:
            said, details = f"did not answer {request} within {timeout:g} s", {"sent": True, "timeout": True}
        elif failure.sent:
            said, details = f"broke off its answer to {request}", {"sent": True}
        elif failure.timed_out:
            said, details = f"did not accept a connection within {self._connect_timeout:g} s", {"sent": False}
        elif isinstance(failure.__cause__, ConnectionRefusedError):
            said, details = "refused the connection", {"sent": False}
        else:
            said, details = f"can't be connected to ({failure})", {"sent": False}
        return WebUIUnreachable(f"the WebUI {said}", details=details)


def _as_error(method: str, path: str, upstream: Upstream) -> WebUIFailed | WebUIRejected:
    details = {"status": upstream.status, "kind": upstream.kind, "upstream": upstream.message}
    words = ": ".join(part for part in (upstream.kind, upstream.message) if part) or "no explanation"
    if upstream.status < 500:  # noqa: PLR2004 - HTTP's own boundary
        return WebUIRejected(f"the WebUI refused {method} {path} ({upstream.status}): {words}", details=details)
    return WebUIFailed(f"the WebUI failed on {method} {path} ({upstream.status}): {words}", details=details)
