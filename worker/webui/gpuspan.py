"""The stretch of a request in which the WebUI works on the GPU, as its log tells it.

A1111 works on one request at a time, logs where that begins and ends (`modules/shared_state.py`, level INFO), and only
then encodes the pictures and answers. A megapixel's PNG takes it 0.2 to 0.3 s, in which the GPU can have the next job.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_BEGAN = re.compile(r" INFO \[modules\.shared_state\] Starting job scripts_")
_ENDED = re.compile(r" INFO \[modules\.shared_state\] Ending job scripts_")


class GpuSpan:
    """One request's stretch; read from the log's thread, asked from the loop's.

    Args:
        hand_over: Runs a function in the loop's thread.
        on_free: What to run there when the GPU is free.

    Attributes:
        end: The log's position at the end of the stretch, None until then (for ever where the log does not tell).
    """

    def __init__(self, hand_over: Callable[[Callable[[], None]], object], on_free: Callable[[], None]) -> None:
        self.end: int | None = None
        self._hand_over = hand_over
        self._on_free = on_free
        self._lock = threading.Lock()
        self._began = False
        self._kept = False

    def read(self, line: str, position: Callable[[], int]) -> None:
        """Take note of a line of the log; `position` tells where it stands."""
        if self.end is not None or "modules.shared_state" not in line:
            return
        if _BEGAN.search(line):
            self._began = True
        elif self._began and _ENDED.search(line):
            with self._lock:
                self.end = position()
                kept = self._kept
            if not kept:
                self._hand_over(self._on_free)

    def keep(self) -> bool:
        """Hold the GPU until the answer has come; return False when it has been given away already."""
        with self._lock:
            self._kept = True
            return self.end is None
