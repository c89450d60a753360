"""HTTP to the WebUI: blocking, thread-safe, nothing but transport and A1111's error shapes.

A request for a picture is sent once. Listings are asked again when a connection breaks, since that can't make a
second picture. Connections that were idle for long are not used again: the WebUI closes them after 30 s, and a POST
that meets such a close could not be told from one that was acted on.
"""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential
from urllib3.exceptions import HTTPError, ReadTimeoutError

from worker.errors import WebUIFailed, WebUIRejected, WebUIUnreachable
from worker.webui import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

IDLE_LIMIT_S = 15.0
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


def read_error(status: int, body: bytes) -> Upstream:
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
        self._clock = clock
        self._lock = threading.Lock()
        self._in_use = 0
        self._last_used = clock()
        self._session = requests.Session()
        self._session.trust_env = False
        # identity: gzip on loopback costs 65 ms for a picture of 2.4 MB.
        self._headers = {"Accept-Encoding": "identity", "Accept": "application/json", "Connection": "keep-alive"}
        if auth is not None:
            pair = base64.b64encode(":".join(auth).encode()).decode()
            self._headers["Authorization"] = f"Basic {pair}"
        self._session.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=16, max_retries=0))
        self._session.mount("https://", HTTPAdapter(pool_connections=1, pool_maxsize=16, max_retries=0))

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

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, timeout: float) -> Any:
        """Send `body` once and return the JSON that comes back.

        Raises:
            WebUIUnreachable: no whole answer came; `details.sent` tells whether the request may have been acted on.
            WebUIFailed: status 5xx, or not JSON. `details` has `status`, `kind` and `upstream`.
            WebUIRejected: status 4xx.
        """
        return self._send("POST", path, body, timeout)

    def close(self) -> None:
        """Close every connection."""
        self._session.close()

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float) -> Any:
        self._begin()
        try:
            response = self._exchange(method, path, body, timeout)
            content = _content(response)
        except requests.ConnectTimeout as failure:
            raise WebUIUnreachable(
                f"the WebUI did not accept a connection within {self._connect_timeout:g} s", details={"sent": False}
            ) from failure
        except requests.Timeout as failure:
            raise WebUIUnreachable(
                f"the WebUI did not answer {method} {path} within {timeout:g} s",
                details={"sent": True, "timeout": True},
            ) from failure
        except requests.RequestException as failure:
            refused = "refused" in str(failure).lower()
            raise WebUIUnreachable(
                "the WebUI refused the connection" if refused else f"the WebUI broke off its answer to {method} {path}",
                details={"sent": not refused},
            ) from failure
        finally:
            self._end()
        if response.status_code >= 400:  # noqa: PLR2004 - HTTP's own boundary
            raise _as_error(method, path, read_error(response.status_code, content))
        try:
            return wire.loads(content)
        except orjson.JSONDecodeError as failure:
            raise WebUIFailed(
                f"the WebUI's answer to {method} {path} is not JSON",
                details={"status": response.status_code, "kind": "NotJSON", "upstream": ""},
            ) from failure

    def _exchange(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float) -> requests.Response:
        """Send a request that is ready as it stands: cookies, redirects, proxies and hooks would cost 0.3 ms a time."""
        ready = requests.PreparedRequest()
        ready.method, ready.url = method, self.url + path
        ready.headers = CaseInsensitiveDict(self._headers)
        if body is not None:
            ready.body = orjson.dumps(body)
            ready.headers["Content-Type"] = "application/json"
        if method == "POST":
            ready.headers["Content-Length"] = str(len(ready.body or b""))
        return self._session.get_adapter(ready.url).send(ready, timeout=(self._connect_timeout, timeout))

    def _begin(self) -> None:
        with self._lock:
            if self._in_use == 0 and self._clock() - self._last_used > IDLE_LIMIT_S:
                self._session.close()
            self._in_use += 1

    def _end(self) -> None:
        with self._lock:
            self._in_use -= 1
            self._last_used = self._clock()


def _content(response: requests.Response) -> bytes:
    """Return the whole body, read in one piece: `response.content` puts it together from 10 KB chunks."""
    try:
        body: bytes = response.raw.read(decode_content=True)
    except ReadTimeoutError as failure:
        raise requests.ReadTimeout(failure) from failure
    except HTTPError as failure:
        raise requests.ConnectionError(failure) from failure
    return body


def _as_error(method: str, path: str, upstream: Upstream) -> WebUIFailed | WebUIRejected:
    details = {"status": upstream.status, "kind": upstream.kind, "upstream": upstream.message}
    words = ": ".join(part for part in (upstream.kind, upstream.message) if part) or "no explanation"
    if upstream.status < 500:  # noqa: PLR2004 - HTTP's own boundary
        return WebUIRejected(f"the WebUI refused {method} {path} ({upstream.status}): {words}", details=details)
    return WebUIFailed(f"the WebUI failed on {method} {path} ({upstream.status}): {words}", details=details)
