"""The outermost layer of the server: pages of other origins, and paths as clients of A1111 write them.

It stands around the whole application, so that preflights are answered before a key is asked for and every error, a
defect's too, carries the headers without which a page sees none of it.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse

from worker.serving.http_api.auth import KEY_HEADERS
from worker.serving.sdapi.shapes import WARNINGS_HEADER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

ANY_ORIGIN = "*"
LOOPBACK_ORIGIN = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
_API_PATH = re.compile(r"/(sdapi/v1|controlnet|adetailer/v1|internal|v1)(/|$)")
_SLASHES = re.compile(r"/{2,}")


def with_browser_access(app: ASGIApp, origins: Sequence[str] | None, *, has_key: bool) -> ASGIApp:
    """Return `app` for pages of these origins as well.

    Args:
        app: The application.
        origins: As a browser writes them, or ``*``; None: all where a key protects the server, else those of this
            machine, because any page could draw on it.
        has_key: Whether the server asks for a key.
    """
    chosen = ([ANY_ORIGIN] if has_key else []) if origins is None else [origin.rstrip("/") for origin in origins]
    return CORSMiddleware(
        app,
        allow_origins=chosen,
        allow_origin_regex=LOOPBACK_ORIGIN if origins is None else None,
        allow_methods=["*"],
        allow_headers=["*"],
        allow_private_network=True,
        expose_headers=[WARNINGS_HEADER],
    )


class OriginGuard:
    """Middleware that refuses requests of other pages where no key does: a browser sends a form unasked.

    Args:
        app: The application.
        origins: Allowed beside those of this machine; ``*``: all.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(origin.rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        origin = headers.get("Origin")
        if origin is None or self._allows(origin) or _is_own_page(origin, headers.get("Host", "")):
            await self._app(scope, receive, send)
            return
        refusal = JSONResponse({"detail": f"pages of {origin[:200]} may not use this server"}, HTTPStatus.FORBIDDEN)
        await refusal(scope, receive, send)

    def _allows(self, origin: str) -> bool:
        is_local = re.fullmatch(LOOPBACK_ORIGIN, origin) is not None
        return is_local or origin in self._origins or ANY_ORIGIN in self._origins


def _is_own_page(origin: str, host: str) -> bool:
    """Return whether `origin` is this server by its bare address: a foreign page could come by a name of its own."""
    try:
        parts = urlsplit(origin)
        ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return False
    return parts.netloc == host


class PathNormalizer:
    """Middleware that reads a path as the client meant it: no doubled or trailing slashes, and the key out of it.

    A client that can send no credential has the key in its address: ``https://host/<key>`` becomes the header that a
    key is read from everywhere.

    Args:
        app: The application.
        key: The server's key; None where there is none or it must not stand in addresses.
    """

    def __init__(self, app: ASGIApp, key: str | None) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            path, key = self._split(_SLASHES.sub("/", scope["path"]))
            if _API_PATH.match(path):
                path = path.rstrip("/")
            elif not key:
                path = scope["path"]
            headers = [*scope["headers"], (KEY_HEADERS[0].lower().encode(), key.encode())] if key else scope["headers"]
            scope = {**scope, "path": path, "raw_path": path.encode(), "headers": headers}
        await self._app(scope, receive, send)

    def _split(self, path: str) -> tuple[str, str]:
        """Return `path` without a key in front, and the key."""
        first, slash, rest = path[1:].partition("/")
        if self._key is None or not first:
            return path, ""
        is_key = hmac.compare_digest(first.encode(), self._key.encode())
        if is_key or (not _API_PATH.match(path) and _API_PATH.match(slash + rest)):
            return f"/{rest}", first
        return path, ""
