"""Reading large JSON bodies, bounded in bytes, values and time."""

from __future__ import annotations

import asyncio
import json
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
from starlette.requests import ClientDisconnect

from worker.serving.cancellation import unless_set
from worker.serving.http_api.api_errors import RequestRefused, busy

if TYPE_CHECKING:
    from starlette.requests import Request

PIECE_S = 20.0
"""Longest wait for the next piece of a body."""
WHOLE_S = 300.0
"""For a body as a whole."""
MAX_SEPARATORS = 500_000
"""Commas, colons and opening brackets. Each may stand for a value, and a value of two bytes takes 60 in memory."""


async def read_body(request: Request, *, max_bytes: int, stopping: asyncio.Event) -> bytes:
    """Return the body of `request`.

    Args:
        request: Its body has not been read.
        max_bytes: Most bytes that the body may have.
        stopping: Ends the reading: the server is shutting down.

    Raises:
        RequestRefused: it is too large or too slow, or the server stops.
        ClientDisconnect: the client hung up.
    """
    too_large = RequestRefused(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have {max_bytes} bytes (MAX_INPUT_BYTES)"
    )
    announced = request.headers.get("Content-Length", "")
    if announced.isascii() and announced.isdigit() and (len(announced) > 15 or int(announced) > max_bytes):  # noqa: PLR2004 - more digits than any limit has
        raise too_large
    body, deadline = bytearray(), time.monotonic() + WHOLE_S
    while True:
        wait_s = min(PIECE_S, deadline - time.monotonic())
        try:
            message = await unless_set(stopping, asyncio.wait_for(request.receive(), wait_s))
        except asyncio.TimeoutError:
            raise RequestRefused(
                HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time", headers=[("Connection", "close")]
            ) from None
        if message is None:
            raise busy("the worker is stopping", HTTPStatus.SERVICE_UNAVAILABLE)
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > max_bytes:
            raise too_large
        if not message.get("more_body", False):
            return bytes(body)


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
        except (ValueError, RecursionError):
            raise RequestRefused(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
