"""Reading large JSON bodies, bounded in bytes, values and time."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import ClientDisconnect

from worker.common.cancellation import timeout, unless_set
from worker.common.clock import running
from worker.common.strict_json import RepeatedKey, unique_keys
from worker.serving.http_api.api_errors import RequestRefused, busy

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message

PIECE_S = 20.0
"""Longest wait for the next piece of a body."""
WHOLE_S = 300.0
"""For a body as a whole."""
MAX_TOTAL_BYTES = 500_000_000
MOST_DIGITS = 15
"""Digits that are read of a Content-Length: enough to be beyond any limit."""
MAX_SEPARATORS = 500_000
"""Commas, colons and opening brackets. Each may stand for a value, and a value of two bytes takes 60 in memory."""
_GZIP = b"\x1f\x8b"


class BodyReader:
    """Reads the bodies of requests.

    Args:
        max_bytes: Most bytes of one body.
        stopping: Ends all reading: the server is shutting down.
        max_total_bytes: Most bytes of all bodies that are being read.
    """

    def __init__(self, max_bytes: int, stopping: asyncio.Event, *, max_total_bytes: int = MAX_TOTAL_BYTES) -> None:
        self._max_bytes = max_bytes
        self._stopping = stopping
        self._max_total_bytes = max(max_total_bytes, max_bytes)
        self._total_bytes = 0

    async def read(self, request: Request) -> bytes:
        """Return the body of `request`.

        Raises:
            RequestRefused: it is too large or too slow, others are being read, or the server stops.
            ClientDisconnect: the client hung up.
        """
        if _announced_bytes(request) > self._max_bytes:
            raise self._too_large()
        body, deadline = bytearray(), running() + WHOLE_S
        try:
            while True:
                piece, is_last = await self._next_piece(request, deadline)
                self._total_bytes += len(piece)
                body += piece
                if len(body) > self._max_bytes:
                    raise self._too_large()
                if self._total_bytes > self._max_total_bytes:
                    raise busy("too many large requests at once; try again later")
                if is_last:
                    return bytes(body)
        finally:
            self._total_bytes -= len(body)

    async def _next_piece(self, request: Request, deadline: float) -> tuple[bytes, bool]:
        wait_s = min(PIECE_S, deadline - running())
        try:
            message = await unless_set(self._stopping, _received(request, wait_s))
        except asyncio.TimeoutError:
            raise RequestRefused(
                HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time", headers=[("Connection", "close")]
            ) from None
        if message is None:
            raise busy("the worker is stopping", HTTPStatus.SERVICE_UNAVAILABLE)
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message.get("body", b""), not message.get("more_body", False)

    def _too_large(self) -> RequestRefused:
        return RequestRefused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have {self._max_bytes} bytes (MAX_INPUT_BYTES)"
        )


async def _received(request: Request, wait_s: float) -> Message:
    async with timeout(wait_s):
        return await request.receive()


def _announced_bytes(request: Request) -> int:
    """Return what Content-Length says, 0 where it says nothing."""
    announced = request.headers.get("Content-Length", "")
    return int(announced[:MOST_DIGITS]) if announced.isascii() and announced.isdigit() else 0


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON body; takes a while for a large one, so call it in a thread.

    Raises:
        RequestRefused: it is not JSON, or has too many values.
    """
    if sum(body.count(sign) for sign in (b",", b":", b"[", b"{")) > MAX_SEPARATORS:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, f"the body has more than {MAX_SEPARATORS} values")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            return json.loads(body)  # large integers and NaN, for which the job's own checks have better words
        except (ValueError, RecursionError) as error:
            raise RequestRefused(HTTPStatus.BAD_REQUEST, f"the body is not JSON: {_why(body, error)}") from None


def parse_job(body: bytes) -> Any:
    """Return the value of a JSON body that is a job of ours; see `parse_json`.

    Raises:
        RequestRefused: also where a name is given twice in one object, of whose values one would be dropped.
    """
    job = parse_json(body)
    try:
        json.loads(body, object_pairs_hook=unique_keys)
    except RepeatedKey as error:
        raise RequestRefused(HTTPStatus.BAD_REQUEST, str(error)) from None
    except RecursionError:
        return job  # nested as no job is, for which the job's own checks have the words
    return job


def _why(body: bytes, error: ValueError | RecursionError) -> str:
    """Return why a body can't be read, without a word of it."""
    for is_so, why in (
        (not body.strip(), "it is empty"),
        (body.startswith(_GZIP), "it is compressed; send it as it is"),
        (body.startswith(b"--"), "it looks like a form (multipart); send application/json"),
        (isinstance(error, RecursionError), "it is nested too deeply"),
    ):
        if is_so:
            return why
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is not UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    return "it has a number with too many digits"
