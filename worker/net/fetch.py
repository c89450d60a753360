"""Guarded HTTP: reading what a client's URL points at.

Where connections go is decided by `worker.net.guard`, on the first request and after every redirect. Secrets travel to
the first origin only and never in clear. Connect, read and total time and the number of bytes are bounded. Built on
requests' transport, so cookies, proxies and `.netrc` of the environment play no part.
"""

from __future__ import annotations

import ssl
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ReadTimeoutError
from urllib3.util import Timeout

from worker.net.adapter import GuardedAdapter
from worker.net.fetch_errors import BadStatus, Refused, TooLarge, TooSlow, Unreachable
from worker.net.header_values import content_length, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from urllib3 import BaseHTTPResponse

    from worker.net.guard import Guard

CHUNK = 256 * 1024
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
_PLAIN = ("", "identity", "aws-chunked")
"""Stores keep `aws-chunked` from how an object was uploaded and say it again when its plain bytes are read."""


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of one fetch, in seconds and bytes.

    Attributes:
        connect_s: For one TCP and TLS connection.
        read_s: Between two pieces of the body, and for all of the headers.
        total_s: From the first request to the last byte, redirects included, give or take one read; None: unbounded.
        max_bytes: Of the body; None: unbounded.
        redirects: How many are followed.
    """

    connect_s: float = 10
    read_s: float = 30
    total_s: float | None = None
    max_bytes: int | None = None
    redirects: int = 5


def origin(url: str) -> tuple[str, str, int]:
    """Return `(scheme, host, port)` of an http(s) URL.

    Raises:
        Refused: another scheme, no host, a bad port, or credentials inside.
    """
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme.lower(), (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise Refused("not a valid URL") from None
    if scheme not in _PORTS:
        raise Refused(f"only http and https URLs are fetched, not {scheme or 'a bare path'!r}")
    if not host:
        raise Refused("the URL names no host")
    if "@" in parts.netloc:
        raise Refused(f"credentials inside the URL of {host} are not accepted", hint="Give them in the token field.")
    return scheme, host, port or _PORTS[scheme]


class Body:
    """An answer whose headers have arrived.

    Attributes:
        url: Where it came from, after redirects.
        status: HTTP status.
        headers: Case-insensitive.
        length: Bytes announced by `Content-Length`, None when the server does not say.
        at_home: No redirect has led to another origin than the first, so the secrets came along.
    """

    def __init__(
        self,
        response: requests.Response,
        *,
        at_home: bool,
        limits: FetchLimits,
        deadline: float | None,
        now: Callable[[], float],
    ) -> None:
        self.url = response.url
        self.at_home = at_home
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.length = content_length(response.headers.get("Content-Length", ""))
        self._response = response
        self._limits = limits
        self._deadline = deadline
        self._now = now

    @property
    def host(self) -> str:
        """The host that answered."""
        return urlsplit(self.url).hostname or ""

    def raise_for_status(self, *fine: int) -> None:
        """Raise `BadStatus` unless the status is one of `fine` (200 when none is given)."""
        if self.status in (fine or (200,)):
            return
        raise BadStatus(
            f"{self.host} answered HTTP {self.status}",
            status=self.status,
            retry_after_s=retry_after(self.headers.get("Retry-After", ""), time.time()),
        )

    def chunks(self, size: int = CHUNK) -> Iterator[bytes]:
        """Yield the body in pieces of at most `size` bytes, as they arrive.

        Raises:
            TooLarge, TooSlow, Unreachable: as `FetchLimits` say; a body shorter than announced is `Unreachable`.
            Refused: the server encoded the body although it was asked not to.
        """
        if self.headers.get("Content-Encoding", "identity").strip().lower() not in _PLAIN:
            raise Refused(
                f"{self.host} sent an encoded body although it was asked for a plain one",
                hint="Use a source that sends files as they are.",
            )
        most = self._limits.max_bytes
        if most is not None and self.length is not None and self.length > most:
            raise TooLarge(f"{self.host} offers {self.length} bytes; the limit is {most}")
        raw: BaseHTTPResponse = self._response.raw
        seen = 0
        while True:
            if self._deadline is not None and self._now() > self._deadline:
                raise TooSlow(f"{self.host} took longer than {self._limits.total_s:g} s")
            with _translated(self.host):
                piece = raw.read1(size, decode_content=False)
            if not piece:
                break
            seen += len(piece)
            if most is not None and seen > most:
                raise TooLarge(f"{self.host} sends more than the limit of {most} bytes")
            yield piece
        if self.length is not None and seen < self.length:
            raise Unreachable(f"{self.host} sent {seen} of {self.length} bytes")

    def read(self) -> bytes:
        """Return the whole body; see `chunks`."""
        return b"".join(self.chunks())

    def close(self) -> None:
        """Give the connection up (back to the pool only when the body was read)."""
        self._response.close()


class Fetcher:
    """A guarded session with keep-alive; may be shared by threads.

    Args:
        guard: Where connections may go.
        verify: Verify TLS against the system's roots (True) or those in this file.
        connections: Kept open per host.
        user_agent: How the worker names itself.
        proxies: URL → proxies by scheme; none by default: a proxy connects for us, past the guard.
        now: A monotonic clock in seconds.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        verify: bool | str = True,
        connections: int = 16,
        user_agent: str = "a1111-worker",
        proxies: Callable[[str], Mapping[str, str]] = lambda _: {},
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.guard = guard
        self._now = now
        self._verify = verify
        self._proxies = proxies
        self._headers = {"User-Agent": user_agent, "Accept": "*/*", "Accept-Encoding": "identity"}
        self._adapter = GuardedAdapter(guard, connections)
        self._aborted = threading.Event()

    @contextmanager
    def open(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        limits: FetchLimits | None = None,
    ) -> Iterator[Body]:
        """Send a request, follow redirects, and yield the answer with its body unread.

        Args:
            url: http(s), without credentials.
            method: `GET` or `HEAD`.
            headers: Sent to every host on the way.
            secrets: Headers sent to the URL's own origin only (scheme, host, port), and only over https or to a host
                that the operator allowed by name; dropped for good by a redirect to any other origin.
            limits: Time, size and number of redirects.

        Raises:
            FetchError: one of its kinds, see `fetch_errors`. The status is not judged; see `Body.raise_for_status`.
        """
        bounds = limits or FetchLimits()
        deadline = None if bounds.total_s is None else self._now() + bounds.total_s
        response, at_home = self._follow(url, method, headers or {}, secrets or {}, bounds, deadline)
        try:
            yield Body(response, at_home=at_home, limits=bounds, deadline=deadline, now=self._now)
        finally:
            response.close()

    def _follow(
        self,
        url: str,
        method: str,
        headers: Mapping[str, str],
        secrets: Mapping[str, str],
        limits: FetchLimits,
        deadline: float | None,
    ) -> tuple[requests.Response, bool]:
        """Return the last answer, and whether all came from the first origin."""
        home, at_home = origin(url), True
        for _ in range(limits.redirects + 1):
            scheme, host, port = here = origin(url)
            if secrets and scheme == "http" and not self.guard.allow.allows_name(host, port):
                raise Refused(
                    f"a secret is not sent over plain http, and {host} is asked for with one", hint="Use https."
                )
            at_home = at_home and here == home
            response = self._send(url, method, {**headers, **(secrets if at_home else {})}, limits, deadline, host)
            target = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or not target:
                return response, at_home
            response.close()
            url = _joined(url, as_utf8(target))
        raise Refused(
            f"{home[1]} redirects more than {limits.redirects} times",
            hint="Use the file's own address; some sites send whoever is not logged in round in a circle.",
        )

    def _send(
        self, url: str, method: str, headers: Mapping[str, str], limits: FetchLimits, deadline: float | None, host: str
    ) -> requests.Response:
        if self._aborted.is_set():
            raise Unreachable(f"{host} is not asked: the worker is stopping")
        left = float("inf") if deadline is None else deadline - self._now()
        if left <= 0:
            raise TooSlow(f"{host} took longer than {limits.total_s:g} s")
        timeout = Timeout(connect=min(limits.connect_s, left), read=min(limits.read_s, left))
        with _translated(host):
            request = requests.Request(method, url, headers={**self._headers, **headers}).prepare()
            # not through a Session: it reads a redirect's body to the end, and that may have none
            way = self._proxies(url)
            return self._adapter.send(request, stream=True, timeout=timeout, verify=self._verify, proxies=way)  # type: ignore[arg-type]  # urllib3's Timeout passes through

    def abort(self) -> None:
        """End every answer that is on its way, and ask for none any more; callable from any thread."""
        self._aborted.set()
        self._adapter.abort()

    def close(self) -> None:
        """Close idle connections."""
        self._adapter.close()


def as_utf8(value: str) -> str:
    """Return a header's text as its sender meant it: servers write UTF-8, HTTP libraries read Latin-1."""
    try:
        return value.encode("latin-1").decode("utf-8")
    except ValueError:
        return value


def _joined(url: str, target: str) -> str:
    try:
        return urljoin(url, target)
    except ValueError:
        raise Refused(f"{urlsplit(url).hostname} redirects to something that is no URL") from None


@contextmanager
def _translated(host: str) -> Iterator[None]:
    """Turn what requests and urllib3 raise into `FetchError`s that name `host` and nothing secret."""
    try:
        yield
    except (requests.Timeout, ReadTimeoutError, ConnectTimeoutError, TimeoutError):
        raise TooSlow(f"{host} did not answer in time") from None
    except requests.exceptions.SSLError as error:
        raise Unreachable(f"no TLS with {host}: {_reason(error)}") from None
    except ValueError:  # requests' InvalidURL and kin among them
        raise Refused("not a valid URL") from None
    except (requests.RequestException, HTTPError, OSError) as error:
        raise Unreachable(f"{host} could not be reached: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    """Return the innermost cause's class and its own words: full texts carry URLs with secrets."""
    seen = error
    while True:
        inner = seen.__cause__ or seen.__context__ or getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            break
        seen = inner
    if isinstance(seen, ssl.SSLCertVerificationError):
        return f"certificate not accepted ({seen.verify_message})"
    detail = f" ({seen.strerror})" if isinstance(seen, OSError) and seen.strerror else ""
    return f"{type(seen).__name__}{detail}"
