"""Faults on the wire: answers that come late, cut, empty, as something else, or not at all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, PlainTextResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from standin.webui import WebUI

CONTROL = "/standin"
CHUNKS = 20
AFTER_THE_WORK = ("drop-after", "cut-body", "slow-body", "not-json", "empty", "late")


class FaultyWire:
    """The outermost layer: passes everything through unless a fault is on for the path."""

    def __init__(self, app: ASGIApp, webui: WebUI) -> None:
        self._app = app
        self._webui = webui

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = scope.get("path", "")
        faults = self._webui.faults
        if scope["type"] != "http" or path.startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        if faults.take("drop-before", path=path):
            _hang_up(receive)
            return
        error = faults.take("http-error", path=path)
        if error is not None:
            answer = PlainTextResponse("Internal Server Error", status_code=int(error.number("status", 500)))
            await answer(scope, receive, send)
            return
        if any(faults.peek(name) for name in AFTER_THE_WORK):
            await self._answer_badly(path, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _answer_badly(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        take = self._webui.faults.take
        late = take("late", path=path)
        if late is not None:
            await asyncio.sleep(late.number("seconds", 1))
        if take("drop-after", path=path):
            _hang_up(receive)
        elif take("cut-body", path=path):
            await _send(messages, send, share=0.5)
            _hang_up(receive)
        elif take("not-json", path=path):
            await HTMLResponse("<html><body>502 Bad Gateway</body></html>")(scope, receive, send)
        elif take("empty", path=path):
            await Response(b"")(scope, receive, send)
        else:
            slow = take("slow-body", path=path)
            await _send(messages, send, seconds=slow.number("seconds", 2) if slow is not None else 0.0)


async def _send(messages: list[Message], send: Send, *, share: float = 1.0, seconds: float = 0.0) -> None:
    body = b"".join(message.get("body", b"") for message in messages[1:])
    await send(messages[0])
    kept = body[: int(len(body) * share)]
    if not seconds:
        await send({"type": "http.response.body", "body": kept, "more_body": share < 1})
        return
    size = max(1, len(kept) // CHUNKS)
    for start in range(0, len(kept), size):
        await asyncio.sleep(seconds / CHUNKS)
        await send({"type": "http.response.body", "body": kept[start : start + size], "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _hang_up(receive: Any) -> None:
    """Closes the connection at once; `receive` is a method of uvicorn's object that holds it."""
    receive.__self__.transport.abort()
