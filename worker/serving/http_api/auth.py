"""The key of the operator's own: who may use the HTTP server."""

from __future__ import annotations

import base64
import binascii
import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import Request  # noqa: TC002 - FastAPI reads the annotation of a dependency at run time

from worker.serving.http_api.api_errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_HEADERS = ("X-API-Key", "api-key")
"""Ours, and Azure OpenAI's."""
KEY_PARAMETERS = ("api_key", "key")
_CHALLENGES = [("WWW-Authenticate", "Bearer"), ("WWW-Authenticate", 'Basic realm="worker", charset="UTF-8"')]


class ApiKey:
    """A dependency that lets a request pass which carries the key.

    The key may come as a Bearer token, as the password of Basic, as ``X-API-Key`` (where a platform in front has a use
    of its own for ``Authorization``), and in the address where the operator allows it.

    Args:
        key: The key; None: every request passes.
        in_url: Whether ``?api_key=`` and ``?key=`` count; addresses end up in logs of proxies.
    """

    def __init__(self, key: str | None, *, in_url: bool) -> None:
        self._key = None if key is None else key.encode()
        self._in_url = in_url

    async def __call__(self, request: Request) -> None:
        """Refuse `request` with 401 unless it carries the key."""
        if self._key is None:
            return
        if not any(hmac.compare_digest(given, self._key) for given in self._given(request)):
            ways = "as `Authorization: Bearer`, as the password of Basic or as `X-API-Key`"
            raise RequestRefused(HTTPStatus.UNAUTHORIZED, f"send the worker's HTTP_API_KEY {ways}", headers=_CHALLENGES)

    def _given(self, request: Request) -> Iterator[bytes]:
        """Yield every key that the request carries."""
        for header in request.headers.getlist("Authorization"):
            scheme, _, credentials = header.partition(" ")
            if scheme.lower() == "bearer":
                yield credentials.strip().encode()
            elif scheme.lower() == "basic":
                yield _password(credentials.strip())
        for name in KEY_HEADERS:
            for header in request.headers.getlist(name):
                yield header.strip().encode()
        if self._in_url:
            for name in KEY_PARAMETERS:
                for value in request.query_params.getlist(name):
                    yield value.encode()


def _password(credentials: str) -> bytes:
    try:
        return base64.b64decode(credentials, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
