"""uvicorn with time limits against slow clients: for requests that never come, for answers that nobody reads."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from starlette.types import ASGIApp

HEAD_S = 10.0
"""For the head of a request, from the connection or the head's first byte on."""
KEEP_ALIVE_S = 30
"""For an idle connection after an answer."""
WRITE_CHECK_S = 20.0
LEAST_PROGRESS_BYTES = 20_000
"""Of an answer, that a client has to take within `WRITE_CHECK_S`."""
MAX_CONNECTIONS = 1000
GRACE_S = 5
"""After `stop`: for answers that are on their way."""


class TimedProtocol(H11Protocol):
    """HTTP/1.1 with a time limit for heads and a least speed for answers. Bodies are the application's to time."""

    _head_timer: asyncio.TimerHandle | None = None
    _write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Start to wait for a request."""
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request; those before its head is complete are timed."""
        super().data_received(data)
        is_idle = self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # None at first
        if is_idle and self._head_timer is None:
            self._await_head()
        elif not is_idle and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        for timer in (self._head_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start to watch a client that does not keep up with its answer."""
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        """Stop watching."""
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, where no answer has begun; the application is told that its client has gone."""
        if self.cycle is not None and not self.cycle.response_complete:  # type: ignore[redundant-expr]  # None at first
            self.cycle.disconnected = True  # what it still sends would break the protocol's own rules
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.abort)

    def _watch_writing(self) -> None:
        waiting = self.transport.get_write_buffer_size()

        def check() -> None:
            if waiting - self.transport.get_write_buffer_size() < LEAST_PROGRESS_BYTES:
                self.transport.abort()
            else:
                self._watch_writing()

        self._write_timer = self.loop.call_later(WRITE_CHECK_S, check)


class _Uvicorn(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the worker."""
        yield


class HttpServer:
    """A server on a socket that listens already.

    Args:
        app: The ASGI application.
        listener: See `worker.serving.http_api.listener.listen`; closed by the server.
    """

    def __init__(self, app: ASGIApp, listener: socket.socket) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                http=TimedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
            )
        )
        self._thread: threading.Thread | None = None

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[self._listener])

    def stop(self) -> None:
        """Let `run` return soon; callable from any thread."""
        self._server.should_exit = True

    def start_thread(self) -> None:
        """Serve in a daemon thread with a loop of its own."""
        self._thread = threading.Thread(target=lambda: asyncio.run(self.run()), name=f"http-{self.port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop a server that runs in a thread, and wait for its end."""
        self.stop()
        if self._thread is not None:
            self._thread.join(GRACE_S + 1)
