"""What was asked of the stand-in, for tests: `GET /standin/requests`."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

KEPT = 1000
LONGEST_TEXT = 4096


class Record:
    """The last requests, oldest first; long texts (pictures) are cut."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def add(self, method: str, path: str, headers: dict[str, str], body: Any) -> None:
        """Notes a request as it arrives."""
        entry = {"time": time.time(), "method": method, "path": path, "headers": headers, "json": _short(body)}
        with self._lock:
            self._entries.append(entry)

    def listed(self) -> list[dict[str, Any]]:
        """All that is kept."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._entries.clear()


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:64]}…<{len(value)} characters>"
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    return value
