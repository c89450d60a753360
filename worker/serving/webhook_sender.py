"""Posting results to the addresses that jobs name.

A receiver is a stranger: it may hang, trickle, answer without end, or refuse. Nothing of an answer is read but its
status, one exchange has a time limit as a whole, and every delivery waits for its own receiver alone.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from typing import TYPE_CHECKING, Any

import aiohttp
import certifi
import orjson
from aiohttp.http_exceptions import HttpProcessingError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt

from worker.common.strict_json import encode
from worker.net.addresses import AllowList, url_host
from worker.net.fetch_errors import Refused, passes
from worker.net.guard import Guard
from worker.net.resolver import GuardedResolver
from worker.serving.webhook_signature import signature_headers
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiohttp.connector import Connection
    from aiohttp.http_parser import RawResponseMessage

PAUSES_S = (1.0, 5.0, 25.0)
LONGEST_PAUSE_S = 60.0
"""Longest wait that a receiver may ask for by ``Retry-After``."""
EXCHANGE_S = 10.0
"""For one exchange: look-up, connection, request and the status of the answer; a large request gets more."""
LEAST_BYTES_PER_S = 1_000_000
CLOSE_S = 10.0
"""At the end of the worker: for all deliveries that are under way."""
MAX_PENDING_BYTES = 200_000_000
MOST_INTERIM = 5
"""Interim answers (1xx) before the one that counts."""
READ_BYTES = 8192
"""Of the socket's buffer: what a receiver floods us with is parsed in pieces, between which others have their turn."""
PER_HOST = 100
"""Deliveries to one host that may be pending; each of a host that hangs takes up to a minute."""
CONTENT_TOO_LARGE = 413
LONGEST_TEXT = 10_000
"""Characters of the longest text in a result that is posted without its pictures."""


class _TryLater(Exception):
    """An exchange that may succeed later.

    Attributes:
        asked_s: Seconds that the receiver asked to wait; 0: it did not say.
    """

    def __init__(self, why: str, asked_s: float = 0.0) -> None:
        super().__init__(why)
        self.asked_s = asked_s


class _Undeliverable(Exception):
    """An exchange that would end the same way again."""


class _TooLargeForReceiver(Exception):
    """The receiver answered 413."""


class WebhookSender:
    """Delivers results; lives in one event loop.

    Args:
        allowed: Hosts that may be named although they are not public.
        secret: Signs the results; None: they are not signed.
        now: Seconds since the epoch.
        sleep: Waits between tries.
    """

    def __init__(
        self,
        allowed: Sequence[str],
        secret: str | None,
        *,
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._secret = secret
        self._now = now
        self._sleep = sleep
        self._resolver = GuardedResolver(Guard(AllowList.of(allowed)))
        self._session: aiohttp.ClientSession | None = None
        self._deliveries: set[asyncio.Task[None]] = set()
        self._pending_bytes = 0
        self._pending_by_host: Counter[str] = Counter()
        self._log = get_logger("webhook")

    def post(self, url: str, job_id: str, result: Mapping[str, Any]) -> None:
        """Start the delivery of a job's result to `url`, an http(s) address; a failure is logged."""
        body, host = encode(dict(result)), url_host(url)
        is_crowded = self._pending_bytes > 0 and self._pending_bytes + len(body) > MAX_PENDING_BYTES
        if is_crowded or self._pending_by_host[host] >= PER_HOST:
            self._log.warning("a webhook is left out: too many wait for receivers that do not answer", job_id=job_id)
            return
        self._pending_bytes += len(body)
        self._pending_by_host[host] += 1
        task = asyncio.ensure_future(self._deliver(url, job_id, body))
        self._deliveries.add(task)

        def ended(_: asyncio.Task[None]) -> None:
            self._deliveries.discard(task)
            self._pending_bytes -= len(body)
            self._pending_by_host[host] -= 1
            if not self._pending_by_host[host]:
                del self._pending_by_host[host]

        task.add_done_callback(ended)

    async def close(self, grace_s: float = CLOSE_S) -> None:
        """Give deliveries that are under way `grace_s` seconds, at most `CLOSE_S`, then give them up."""
        if self._deliveries:
            _, late = await asyncio.wait(set(self._deliveries), timeout=min(grace_s, CLOSE_S))
            for task in late:
                task.cancel()
            if late:
                self._log.warning("webhooks are given up at the worker's end", webhooks=len(late))
                await asyncio.wait(late)
        if self._session is not None:
            await self._session.close()
        await self._resolver.close()

    async def _deliver(self, url: str, job_id: str, body: bytes) -> None:
        try:
            try:
                await self._post_with_retries(url, job_id, body)
            except _TooLargeForReceiver:
                self._log.info("a webhook takes no such large body; posting without pictures", job_id=job_id)
                await self._post_with_retries(url, job_id, encode(without_pictures(orjson.loads(body))))
        except (_TryLater, _Undeliverable, _TooLargeForReceiver) as failure:
            self._log.warning("a webhook did not take its result", job_id=job_id, why=str(failure) or "status 413")
        except Refused as refusal:
            self._log.warning("a webhook is refused", job_id=job_id, error=str(refusal))
        except Exception:  # noqa: BLE001 - the end of a background task: nobody else would hear of it
            self._log.exception("a webhook ended in a defect", job_id=job_id)

    async def _post_with_retries(self, url: str, job_id: str, body: bytes) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_TryLater),
            stop=stop_after_attempt(len(PAUSES_S) + 1),
            wait=_pause_s,
            sleep=self._sleep,
            reraise=True,
        )
        await retrying(self._post, url, job_id, body)

    async def _post(self, url: str, job_id: str, body: bytes) -> None:
        signed = signature_headers(self._secret, job_id, body, now=self._now()) if self._secret else {}
        headers = {"Content-Type": "application/json", **signed}
        timeout = aiohttp.ClientTimeout(total=EXCHANGE_S + len(body) / LEAST_BYTES_PER_S)
        try:
            async with self._client().post(
                url, data=body, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                status, asked_s = response.status, _retry_after_s(response.headers.get("Retry-After", ""))
                response.close()  # the body stays unread
        except Refused:
            raise
        except (aiohttp.InvalidURL, aiohttp.ClientResponseError, ValueError) as error:
            raise _Undeliverable(type(error).__name__) from None  # no URL, or an answer that is not HTTP
        except aiohttp.ClientConnectorCertificateError as error:
            raise _Undeliverable(type(error).__name__) from None
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            raise _TryLater(type(error).__name__) from None
        if status == CONTENT_TOO_LARGE:
            raise _TooLargeForReceiver
        if passes(status):
            raise _TryLater(f"status {status}", asked_s)
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's own range
            raise _Undeliverable(f"status {status}")

    def _client(self) -> aiohttp.ClientSession:
        """Return the session, made on first use: it belongs to the running loop."""
        if self._session is None:

            async def check_host(
                request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
            ) -> aiohttp.ClientResponse:
                await self._resolver.check(request.url.host or "", request.url.port or 0)
                return await handler(request)

            connector = aiohttp.TCPConnector(
                resolver=self._resolver,
                use_dns_cache=False,
                limit=0,
                force_close=True,
                ssl=ssl.create_default_context(cafile=certifi.where()),
                socket_factory=_small_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                response_class=_FirstAnswer,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                middlewares=(check_host,),
                headers={"User-Agent": "a1111-worker"},
            )
        return self._session


class _FirstAnswer(aiohttp.ClientResponse):
    """A response that does not wait through one interim answer after another."""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Wait for the answer that counts."""
        if connection.protocol is not None:
            read, left = connection.protocol.read, MOST_INTERIM + 1

            async def counted() -> tuple[RawResponseMessage, aiohttp.StreamReader]:
                nonlocal left
                left -= 1
                if left < 0:
                    raise HttpProcessingError(message="one interim answer after another")
                return await read()

            connection.protocol.read = counted  # type: ignore[method-assign]  # aiohttp itself has no limit
        return await super().start(connection)


def _small_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
    return opened


def without_pictures(result: dict[str, Any]) -> dict[str, Any]:
    """Return a job's result without inline pictures and other long texts, marked as ``truncated``; links stay."""
    output = result.get("output")
    return {
        **result,
        "output": {**_shortened(output), "truncated": True} if isinstance(output, dict) else _shortened(output),
        "truncated": True,
    }


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(part) for name, part in value.items() if not _is_long(part)}
    if isinstance(value, list):
        return [_shortened(part) for part in value if not _is_long(part)]
    return value


def _is_long(value: object) -> bool:
    return isinstance(value, str) and len(value) > LONGEST_TEXT


def _pause_s(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome is not None else None
    asked_s = failure.asked_s if isinstance(failure, _TryLater) else 0.0
    return max(PAUSES_S[min(state.attempt_number, len(PAUSES_S)) - 1], min(asked_s, LONGEST_PAUSE_S))


def _retry_after_s(header: str) -> float:
    return float(header) if header.isascii() and header.isdigit() and len(header) < 10 else 0.0  # noqa: PLR2004 - digits
