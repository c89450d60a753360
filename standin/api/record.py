"""Record of the requests to the stand-in, for tests: `GET /standin/requests`."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

KEPT = 1000
SERVED = 10_000
LONGEST_TEXT = 4096


class Record:
    """The last requests, oldest first; long texts (pictures) are cut.

    Args:
        file: Gets a line of JSON for each as well, so that they outlive a process that is killed; empty: none.
    """

    def __init__(self, file: str = "") -> None:
        self._file = Path(file) if file else None
        self._lock = threading.Lock()
        self._entries: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.served: deque[tuple[str, float]] = deque(maxlen=SERVED)
        """Path and seconds of the last requests that were answered, oldest first."""

    def add(self, method: str, path: str, headers: dict[str, str], body: Any) -> None:
        """Notes a request as it arrives."""
        entry = {"time": time.time(), "method": method, "path": path, "headers": headers, "json": _short(body)}
        with self._lock:
            self._entries.append(entry)
            if self._file is not None:
                with self._file.open("a", encoding="utf-8") as lines:
                    lines.write(f"{json.dumps(entry)}\n")

    def listed(self) -> list[dict[str, Any]]:
        """All that is kept."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._entries.clear()
        self.served.clear()


class Served:
    """The outermost layer: how long each request took, from its reaching the program until its last bytes are sent.

    The answer's own `X-Process-Time`, as the real one says it, leaves out reading and packing. The sending itself is
    left out here: it wakes the client, which may get the processor before it returns.
    """

    def __init__(self, app: ASGIApp, served: deque[tuple[str, float]]) -> None:
        self._app = app
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        began = time.perf_counter()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._served.append((str(scope.get("path", "")), time.perf_counter() - began))
            await send(message)

        await self._app(scope, receive, watched)


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:64]}…<{len(value)} characters>"
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return value
