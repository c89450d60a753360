"""The WebUI's output: passed on line by line, the last lines kept, and questions about a stretch of it answered."""

from __future__ import annotations

import array
import fcntl
import itertools
import re
import select
import termios
import threading
from collections import deque
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KEEP = 4000
LONGEST_LINE = 65536
SETTLE_S = 0.5
_LINE_END = re.compile(rb"[\r\n]+")
_BAR = re.compile(r"^\s*(?:Total progress: *)?\d{1,3}%\|")


class LogTail:
    """Reads a child's output in a thread of its own.

    Args:
        stream: The child's merged stdout and stderr, unbuffered binary.
        on_line: Called with each line (progress bars left out), in the reader's thread.
    """

    def __init__(self, stream: IO[bytes], on_line: Callable[[str], None]) -> None:
        self._stream = stream
        self._on_line = on_line
        self._lines: deque[tuple[int, str]] = deque(maxlen=KEEP)
        self._count = 0
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)
        self._reading = False
        self._closed = False
        self._thread = threading.Thread(target=self._read, name="webui-log", daemon=True)
        self._thread.start()

    def tail(self, lines: int = 30) -> list[str]:
        """Return the last `lines` lines, debug output left out."""
        with self._lock:
            return [line for _, line in self._lines if " DEBUG [" not in line][-lines:]

    def mark(self) -> int:
        """Return a position for `since`."""
        with self._lock:
            return self._count

    def since(self, mark: int, until: int | None = None) -> list[str]:
        """Return the lines after `mark`, up to `until`; without it, once all the child has written by now was read."""
        if until is None:
            self._settle()
        with self._lock:
            later = list(itertools.takewhile(lambda line: line[0] > mark, reversed(self._lines)))
        return [line for number, line in reversed(later) if until is None or number <= until]

    def join(self, timeout: float) -> None:
        """Wait until the child's output has ended."""
        self._thread.join(timeout)

    def _settle(self) -> None:
        with self._idle:
            self._idle.wait_for(lambda: self._closed or (not self._reading and not self._pending()), timeout=SETTLE_S)

    def _pending(self) -> int:
        size = array.array("i", [0])
        try:
            fcntl.ioctl(self._stream.fileno(), termios.FIONREAD, size)
        except (OSError, ValueError):
            return 0
        return size[0]

    def _read(self) -> None:
        rest = b""
        while True:
            with self._idle:
                self._reading = False
                self._idle.notify_all()
            # Busy is said before the pipe is emptied, so `since` never finds an empty pipe and a line not yet kept.
            select.select([self._stream], [], [])
            with self._idle:
                self._reading = True
            chunk = self._stream.read(LONGEST_LINE)
            if not chunk:
                break
            *lines, rest = _LINE_END.split(rest + chunk)
            for line in lines:
                self._add(line)
            if len(rest) > LONGEST_LINE:
                self._add(rest)
                rest = b""
        if rest:
            self._add(rest)
        self._stream.close()
        with self._idle:
            self._closed = True
            self._reading = False
            self._idle.notify_all()

    def _add(self, raw: bytes) -> None:
        line = raw.decode("utf-8", "replace").rstrip()
        if not line or _BAR.match(line):
            return
        with self._lock:
            self._count += 1
            self._lines.append((self._count, line))
        self._on_line(line)
