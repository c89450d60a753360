"""The caller's trace context of a request: its header ``traceparent``, by W3C's Trace Context."""

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.{0,200})?")
_current: ContextVar[str] = ContextVar("traceparent", default="")


def current_traceparent() -> str:
    """Return the trace context of the request that is being served, "" where there is none."""
    return _current.get()


class TraceHeader:
    """Middleware that keeps a request's trace context for the jobs that it submits.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        given = Headers(scope=scope).get("traceparent", "") if scope["type"] == "http" else ""
        token = _current.set(given if _TRACEPARENT.fullmatch(given) else "")
        try:
            await self._app(scope, receive, send)
        finally:
            _current.reset(token)
