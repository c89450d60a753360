"""Where a chaos run's jobs have LoRAs fetched from: a server that is a little slow, and goes wrong on cue."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Literal

from tests.support import models
from tests.support.loopback_http import Reply, Request, Server
from tests.support.model_store import ranged

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

Wrong = Literal["busy", "cut"]
FILLING = "x" * 300_000
"""Makes the files large enough to be killed over."""
BLOCK, WAIT_S = 65536, 0.02


class Depot:
    """Serves ``/<name>.safetensors`` for each of `names`; writes the files into `folder` as well, for the referee."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._files: dict[str, bytes] = {}
        for name in names:
            path = models.lora(folder / f"{name}.safetensors", metadata={"filling": FILLING})
            self._files[f"/{name}.safetensors"] = path.read_bytes()
        self._lock = threading.Lock()
        self._wrong: deque[Wrong] = deque()
        self.server = Server(self._answer)

    def spoil(self, what: Wrong, count: int) -> None:
        """Let the next `count` requests go wrong: a 503, or a body that ends in its middle."""
        with self._lock:
            self._wrong.extend([what] * count)

    def _answer(self, request: Request) -> Reply:
        with self._lock:
            wrong = self._wrong.popleft() if self._wrong else None
        if wrong == "busy":
            return Reply(503)
        whole = ranged(request, self._files[request.path], etag=f'"{request.path}"')
        return Reply(raw=lambda handler: _send(handler, whole, share=0.5 if wrong == "cut" else 1.0))


def _send(handler: BaseHTTPRequestHandler, reply: Reply, *, share: float) -> None:
    handler.send_response(reply.status)
    for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command == "HEAD":
        return
    for start in range(0, int(len(reply.body) * share), BLOCK):
        handler.wfile.write(reply.body[start : start + BLOCK])
        time.sleep(WAIT_S)  # the rate of a slow source
