"""Standard streams that never block: a slow or dead reader costs output, never a job or the end of the process."""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import select
import sys
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_PENDING = 10_000
"""Writes that wait for the reader; a line of the log is one write of at most about 4 kB."""
LAST_WORDS_S = 1.0
"""Time that readers get for the rest of the output when the process ends."""


class BoundedWriter:
    """Writes to a file descriptor in a thread of its own; output beyond what may wait is dropped and counted.

    `put` takes no lock that the interrupted code could hold, so a signal handler may call it at any moment. Each write
    is one system call, so that lines stay whole where several processes share a pipe.

    Args:
        descriptor: An open file descriptor.
        most_pending: Writes that may wait.

    Attributes:
        dropped: Writes that were dropped so far.
        drop_notice: Makes the line that reports a number of dropped writes; None: they are not reported.
    """

    def __init__(self, descriptor: int, *, most_pending: int = MOST_PENDING) -> None:
        self.descriptor = descriptor
        self.dropped = 0
        self.drop_notice: Callable[[int], bytes] | None = None
        self._most_pending = most_pending
        self._pending: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._is_running = False
        os.register_at_fork(after_in_child=self._forget)

    def put(self, data: bytes) -> None:
        """Write `data` soon, or drop it where too much is waiting already."""
        if self._pending.qsize() >= self._most_pending:
            self.dropped += 1
            return
        self._pending.put(data)
        self._start()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was put before is written; return False where that takes longer than `timeout_s`."""
        reached = threading.Event()
        self._pending.put(reached)
        self._start()
        return reached.wait(timeout_s)

    def _start(self) -> None:
        if not self._is_running:
            self._is_running = True
            threading.Thread(target=self._run, name=f"output-{self.descriptor}", daemon=True).start()

    def _forget(self) -> None:
        """Begin anew in a forked child: the thread is the parent's, and so is the output that was waiting."""
        self._pending = SimpleQueue()
        self._is_running = False

    def _run(self) -> None:
        reported = 0
        while True:
            item = self._pending.get()
            if isinstance(item, threading.Event):
                item.set()
                continue
            self._write(item)
            if self.dropped > reported and self.drop_notice is not None:
                dropped, reported = self.dropped - reported, self.dropped
                self._write(self.drop_notice(dropped))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        with contextlib.suppress(OSError):  # a full disk, a closed pipe: no line is worth a job
            while left:
                try:
                    left = left[os.write(self.descriptor, left) :]
                except BlockingIOError:  # another process that has the pipe made it non-blocking
                    select.select([], [self.descriptor], [])


class _NonBlockingFile(io.RawIOBase):
    """A raw file whose writes go to a `BoundedWriter` and always succeed."""

    def __init__(self, writer: BoundedWriter) -> None:
        super().__init__()
        self._writer = writer

    def fileno(self) -> int:
        return self._writer.descriptor

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return os.isatty(self._writer.descriptor)

    def write(self, data: Any) -> int:
        content = bytes(data)
        self._writer.put(content)
        return len(content)


_writers: dict[int, BoundedWriter] = {}


def writer_for(descriptor: int) -> BoundedWriter:
    """Return this process's writer for a file descriptor; the first call makes it."""
    if not _writers:
        atexit.register(flush)
    if descriptor not in _writers:
        _writers[descriptor] = BoundedWriter(descriptor)
    return _writers[descriptor]


def descriptor_of(stream: TextIO) -> int | None:
    """Return the file descriptor of `stream`, None for a stream in memory."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def unblock_standard_streams() -> None:
    """Let no `print` block or fail any more because a disk is full or a reader is slow or gone."""
    for name in ("stdout", "stderr"):
        descriptor = descriptor_of(getattr(sys, name))
        if descriptor is not None:
            buffered = io.BufferedWriter(_NonBlockingFile(writer_for(descriptor)))
            wrapped = io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace", line_buffering=True)
            setattr(sys, name, wrapped)


def flush(timeout_s: float = LAST_WORDS_S) -> None:
    """Give the readers of all streams up to `timeout_s` to take what was written."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(getattr(getattr(stream, "buffer", None), "raw", None), _NonBlockingFile):
            stream.flush()
    deadline = time.monotonic() + timeout_s
    for writer in _writers.values():
        writer.flush(max(0.0, deadline - time.monotonic()))
