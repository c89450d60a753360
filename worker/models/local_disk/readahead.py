"""Getting a large file into memory before somebody needs it.

mmap over a network volume reads page by page and takes minutes; read in order the same file comes at the volume's full
speed. The pages land in the kernel's cache, where the WebUI finds them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = 8 * 1024 * 1024
_MEMINFO = Path("/proc/meminfo")
_SHARE_OF_MEMORY = 0.6
"""More of the memory that is free would push out what was read first."""


@dataclass(frozen=True, slots=True)
class ReadDone:
    """The outcome of a read-ahead.

    Attributes:
        bytes: Read.
        seconds: It took.
    """

    bytes: int
    seconds: float


class ReadAhead:
    """Reads one file in the background; start it before the WebUI and forget it, or wait for its end.

    Args:
        path: The file.
        now: A monotonic clock in seconds.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._now = now
        self._stop = threading.Event()
        self._done: ReadDone | None = None
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    def start(self) -> ReadAhead:
        """Begin; return at once."""
        self._thread.start()
        return self

    def wait(self, timeout: float | None = None) -> ReadDone | None:
        """Return how it went; None when it failed, was stopped or is not over by `timeout`."""
        self._thread.join(timeout)
        return None if self._thread.is_alive() else self._done

    def give_up(self) -> None:
        """End it early; return at once."""
        self._stop.set()

    def _run(self) -> None:
        began = self._now()
        with contextlib.suppress(OSError):  # a help, never a condition: the WebUI reads the file itself
            count = warm(self._path, self._stop)
            if not self._stop.is_set():
                self._done = ReadDone(count, self._now() - began)


class Warmer:
    """Reads the next job's checkpoint ahead while the GPU works; one file at a time, the newest wish wins."""

    def __init__(self) -> None:
        self._current: ReadAhead | None = None
        self._path: Path | None = None

    def want(self, path: Path) -> None:
        """Begin to read `path`, unless it was the last one read; return at once."""
        if path == self._path:
            return
        if self._current is not None:
            self._current.give_up()
        self._path = path
        self._current = ReadAhead(path).start()


def warm(path: Path, stop: threading.Event) -> int:
    """Read a file in order so that it is in the page cache; return the bytes read.

    Reads at most a share of the memory that is available: more would push out its own beginning. Raises OSError.
    """
    left = min(path.stat().st_size, int(available_memory() * _SHARE_OF_MEMORY))
    buffer = bytearray(_BLOCK)
    total = 0
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while total < left and not stop.is_set():
            count = file.readinto(buffer)
            if not count:
                break
            total += count
    return total


def available_memory(meminfo: Path = _MEMINFO) -> int:
    """Return the bytes of memory that could be used for new pages; a great many where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 1 << 50
