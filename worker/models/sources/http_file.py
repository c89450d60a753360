"""One remote file, read in ranges over guarded HTTP.

The first answer may come after redirects to a signed address; later ranges go straight there, without the secret. When
that address stops working (signatures expire) the way through the front door is taken again.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

import orjson

from worker.net.fetch import as_utf8
from worker.net.fetch_errors import FetchError, passes
from worker.net.header_values import content_range, retry_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from worker.net.fetch import Body, Fetcher, FetchLimits

CHUNK = 512 * 1024
_FILE_NAME = re.compile(r"\bfilename\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^;\s]*))", re.IGNORECASE)
_FILE_NAME_EXTENDED = re.compile(r"\bfilename\*\s*=\s*(UTF-8|ISO-8859-1)'[^']*'([^;\s]+)", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)")
_WHOLE, _PARTIAL, _TOO_SHORT = 200, 206, 416
_GOOD = (_WHOLE, _PARTIAL)
_ABSENT = (404, 410)
_MESSAGE_BYTES = 4096
_MESSAGE_LETTERS = 200


@dataclass(frozen=True, slots=True)
class Version:
    """The version of a file, in its source's words.

    Attributes:
        size: Bytes; None when it does not say.
        tag: ``ETag`` or, without one, ``Last-Modified``; None when it gives neither.
    """

    size: int | None
    tag: str | None

    @property
    def resumable(self) -> bool:
        """True if a later answer can be recognised as the same file."""
        return self.size is not None and self.tag is not None


class Denied(FetchError):
    """The source says no, and asking again won't help.

    Attributes:
        status: 401, 403, 404, 410 or another 4xx.
        host: The host that said so.
        elsewhere: The source let the request in, and a host that it redirected to refused.
        token_sent: The request carried a token.
    """

    def __init__(
        self, message: str, *, status: int, host: str, elsewhere: bool = False, token_sent: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.host = host
        self.elsewhere = elsewhere
        self.token_sent = token_sent


class Busy(FetchError):
    """The source asks to come back later (429, 5xx).

    Attributes:
        retry_after_s: Its `Retry-After`; None when it gives none.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after_s: float | None, status: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.status = status


class Changed(FetchError):
    """The file is not the one it was when the fetch began."""


@dataclass(frozen=True, slots=True)
class RangeResponse:
    """An answer with bytes of the file.

    Attributes:
        start: Offset of the first byte.
        version: What the source offers.
        ranged: It honours ranges; else the body is the whole file from its beginning.
        name: The file name it suggests; None without one.
        chunks: The body; raises `FetchError`.
    """

    start: int
    version: Version
    ranged: bool
    name: str | None
    chunks: Iterator[bytes]


class RemoteFile(Protocol):
    """A file that can be read in ranges."""

    def open(self, start: int, end: int | None) -> AbstractContextManager[RangeResponse]:
        """Ask for ``[start, end)``, to the end of the file when `end` is None. Raises `FetchError`."""


class HttpFile:
    """A file behind a URL.

    Args:
        fetcher: The guarded session.
        url: Returns an http(s) URL; asked anew each time the way through the front door is taken (signatures expire).
        secrets: Headers for the URL's own origin only.
        limits: Time limits of one request.
        otherwise: Other addresses of the same file, asked when the one before them has no file.
        listed: The files that the source lists, for the error when there is none.
        now: Seconds since the epoch, for `Retry-After` given as a date.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        url: Callable[[], str],
        *,
        secrets: Mapping[str, str],
        limits: FetchLimits,
        otherwise: tuple[str, ...] = (),
        listed: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fetcher = fetcher
        self._front = url
        self._direct: tuple[str, Mapping[str, str]] | None = None  # as one: threads must not see halves of two
        self._secrets = secrets
        self._limits = limits
        self._otherwise = otherwise
        self._listed = listed
        self._now = now
        self._served = False

    @contextmanager
    def open(self, start: int, end: int | None) -> Iterator[RangeResponse]:
        """Open a range of the file, as `RemoteFile.open` has it."""
        direct = self._direct
        if direct is not None:
            with self._request(*direct, start, end) as body:
                if body.status in _GOOD or body.status == _TOO_SHORT or passes(body.status):
                    yield self._piece(body, start)
                    return
            self._direct = None  # stores say 400, 401, 403 or 404 when a signature is over
        fronts = (self._front(), *self._otherwise)
        for front in fronts:
            with self._request(front, self._secrets, start, end) as body:
                if body.status in _ABSENT and front != fronts[-1]:
                    continue
                piece = self._piece(body, start)
                self._direct = body.url, self._secrets if body.at_home else {}
                self._served = True
                yield piece
                return

    def _request(
        self, url: str, secrets: Mapping[str, str], start: int, end: int | None
    ) -> AbstractContextManager[Body]:
        last = "" if end is None else str(end - 1)
        headers = {"Range": f"bytes={start}-{last}"}
        return self._fetcher.open(url, headers=headers, secrets=secrets, limits=self._limits)

    def _piece(self, body: Body, start: int) -> RangeResponse:
        tag = body.headers.get("ETag") or body.headers.get("Last-Modified")
        name = suggested_name(body.headers.get("Content-Disposition", ""))
        if body.status == _PARTIAL:
            told = content_range(body.headers.get("Content-Range", ""))
            if told is None or told[0] != start:
                raise FetchError(f"{body.host} answered with another range than it was asked for")
            size = told[1]
            return RangeResponse(start, Version(size, tag), ranged=True, name=name, chunks=body.chunks(CHUNK))
        if body.status == _WHOLE:  # ranges are not honoured
            return RangeResponse(0, Version(body.length, tag), ranged=False, name=name, chunks=body.chunks(CHUNK))
        error = refusal(body, self._now(), secrets=self._secrets)
        if not isinstance(error, Denied):
            raise error
        if self._served and error.elsewhere:  # it was let in a moment ago, so this says nothing about permission
            raise Busy(f"{error} in the middle of the download", retry_after_s=None, status=error.status)
        if error.status in _ABSENT and self._listed:
            error.args = (f"{error}{self._listed}",)
        raise error


def refusal(body: Body, now: float, *, secrets: Mapping[str, str]) -> FetchError:
    """Return the error for an answer without the file.

    Args:
        body: The answer.
        now: Seconds since the epoch.
        secrets: The headers that went to the first origin; never repeated.
    """
    said = f"{body.host} answered HTTP {body.status}{_message(body, secrets)}"
    if body.status == _TOO_SHORT:
        if body.headers.get("Content-Range", "").replace(" ", "").endswith("*/0"):
            return Denied(f"the file at {body.host} is empty", status=body.status, host=body.host)
        return Changed(said)  # it is shorter than it was
    if passes(body.status):
        wait = retry_after(body.headers.get("Retry-After", ""), now)
        return Busy(said, retry_after_s=wait, status=body.status)
    return Denied(said, status=body.status, host=body.host, elsewhere=not body.at_home, token_sent=bool(secrets))


def _message(body: Body, secrets: Mapping[str, str]) -> str:
    """Return what a source says in its own words: the ``message`` or ``error`` of a JSON answer."""
    if "json" not in body.headers.get("Content-Type", "").lower():
        return ""
    try:
        data = orjson.loads(next(body.chunks(_MESSAGE_BYTES), b""))
    except (FetchError, ValueError):
        return ""
    words = (
        next((data[name] for name in ("message", "error") if isinstance(data.get(name), str)), "")
        if isinstance(data, dict)
        else ""
    )
    tokens = [value.split(" ", 1)[-1] for value in secrets.values()]
    plain = "".join(letter if letter.isprintable() else " " for letter in words).strip()[:_MESSAGE_LETTERS]
    return "" if not plain or "://" in plain or any(token in plain for token in tokens) else f": {plain!r}"


def suggested_name(disposition: str) -> str | None:
    """Return the file name of a `Content-Disposition` header; any text, so it has to be made safe."""
    extended = _FILE_NAME_EXTENDED.search(disposition)
    if extended:
        return unquote(extended[2], encoding=extended[1])
    plain = _FILE_NAME.search(disposition)
    if plain is None:
        return None
    return as_utf8(_ESCAPED.sub(r"\1", plain[1]) if plain[1] else plain[2] or "") or None
