"""Transfer of one remote file into a partial file: parallel ranges, resume, retries, SHA-256 in the same pass.

Workers take the missing ranges in order and write them where they belong. The calling thread follows the front (the end
of what is there without a gap) and hashes what was just written, while it is still in the page cache. So the digest is
ready a moment after the last byte, whatever order the bytes came in.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.common.clock import running
from worker.models.download.context import MIN_PIECE, DownloadedFile, RetrySettings, Stopped, pause, pieces
from worker.models.download.partial import DiskFull, Partial, Spans
from worker.models.sources.http_file import Busy, Changed, RangeResponse, RemoteFile, Version
from worker.models.volume.integrity import FrontHash
from worker.net.fetch_errors import FetchError, TooLarge, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

_CHANGES = 2


class Transfer:
    """One file from a remote into a partial.

    Args:
        remote: Where it comes from.
        partial: Where it goes.
        retry: How hard to try.
        max_bytes: The longest file that is accepted.
        check: Called as ``check(fd, front, size)`` until it returns True; raises to refuse the file.
        on_name: Called once with the version and the name that the source suggests.
        on_bytes: Called with bytes there and in all (None: unknown), now and then.
        stop: Set to end the transfer early.
        jitter: Returns a factor for waits, about 1.
    """

    def __init__(
        self,
        remote: RemoteFile,
        partial: Partial,
        *,
        retry: RetrySettings,
        max_bytes: int,
        check: Callable[[int, int, int | None], bool],
        on_name: Callable[[Version, str | None], None],
        on_bytes: Callable[[int, int | None], None],
        stop: threading.Event,
        jitter: Callable[[], float],
    ) -> None:
        self._remote = remote
        self._partial = partial
        self._pace = retry
        self._max_bytes = max_bytes
        self._check = check
        self._on_name = on_name
        self._on_bytes = on_bytes
        self._stop = stop
        self._jitter = jitter
        self._changed = threading.Condition()
        self._spans = Spans()
        self._todo: deque[tuple[int, int | None]] = deque()
        self._active = 0
        self._changes = 0
        self._failure: BaseException | None = None
        self._generation = 0  # counts the times that a file came anew from its beginning
        self._high = 0  # most bytes ever there: progress is only what exceeds it
        self._size: int | None = None
        self._ranged = False

    def run(self) -> DownloadedFile:
        """Return when the whole file is in the partial, flushed.

        Raises:
            FetchError: the source failed for good.
            DiskFull: there is no room.
            Stopped: told to.
            Exception: whatever `check` or `on_name` raise.
        """
        while True:
            try:
                return self._attempt()
            except Changed:
                if self._at_once:
                    raise
                self._changes += 1
                self._partial.restart(Version(None, None))

    @property
    def _at_once(self) -> bool:
        """Return whether all has to come in one answer: one mismatch may be an upload, two mean that servers differ."""
        return self._changes >= _CHANGES

    def _attempt(self) -> DownloadedFile:
        with ExitStack() as stack:
            first = self._begin(stack)
            self._failure = None
            workers = self._start_workers(first, stack)
            try:
                digest, hashed = self._follow()
            except BaseException as error:
                self._fail(error)
                raise
            finally:
                for worker in workers:
                    worker.join()
                if self._failure is not None:
                    with contextlib.suppress(DiskFull, OSError):
                        self._partial.save(self._spans.to_json())
        self._partial.finish(hashed)
        return DownloadedFile(hashed, digest, self._partial.version.tag)

    def _begin(self, stack: ExitStack) -> RangeResponse:
        """Ask for the first missing piece, learn what the source offers and can, and plan the rest."""
        attempts = 0
        gaps = self._partial.spans.gaps(self._partial.version.size or 0)
        start, end = gaps[0] if gaps else (0, MIN_PIECE)
        while True:
            self._raise_if_stopped()
            try:
                most = None if self._at_once else min(end, start + MIN_PIECE)
                piece = stack.enter_context(self._remote.open(start, most))
            except FetchError as error:
                attempts += 1
                self._wait_after(error, attempts)
            else:
                break
        if start > 0 and piece.version != self._partial.version:
            raise Changed("the file changed since its fetch began")
        size = piece.version.size
        if size is not None and size > self._max_bytes:
            raise TooLarge(f"the file has {size} bytes; the limit is {self._max_bytes}")
        self._on_name(piece.version, piece.name)
        if not piece.ranged:
            self._partial.restart(piece.version)
        self._partial.begin(piece.version)
        self._size = size
        self._ranged = (
            piece.ranged and piece.version.resumable and not self._at_once
        )  # else pieces could be of two files
        self._spans = self._partial.spans
        return piece

    def _start_workers(self, first: RangeResponse, stack: ExitStack) -> list[threading.Thread]:
        self._high = max(self._high, self._spans.total)
        if self._ranged and self._size is not None:
            self._todo = deque(pieces(self._spans.gaps(self._size), self._size, self._pace.connections))
        else:
            self._todo = deque([(0, self._size)])
        count = max(1, min(self._pace.connections if self._ranged else 1, len(self._todo)))
        self._active = count
        task: _Task | None = None
        if self._todo and self._todo[0][0] == first.start and (self._at_once or first.ranged == self._ranged):
            task = _Task(*self._todo.popleft(), first, stack.pop_all())
        stack.close()
        tasks = [task, *[None] * (count - 1)]
        workers = [threading.Thread(target=self._work, args=(each,), name="fetch", daemon=True) for each in tasks]
        for worker in workers:
            worker.start()
        return workers

    # What a worker thread does

    def _work(self, task: _Task | None) -> None:
        attempts, mark = 0, -1
        try:
            while (task := task or self._take()) is not None:
                try:
                    self._fetch(task)
                except _Broken as broken:
                    with self._changed:
                        attempts = 1 if self._high > mark else attempts + 1
                        mark = self._high
                        self._give_back(broken.position, task.end)
                        if self._active > 1 and isinstance(broken.cause, Busy):
                            self._leave()  # a source that is asked too much gets fewer connections
                            return
                    self._wait_after(broken.cause, attempts)
                task = None
        except BaseException as error:  # noqa: BLE001  the calling thread raises it
            self._fail(error)

    def _take(self) -> _Task | None:
        """Return what is to be brought next; None when there is nothing: then this worker has left."""
        with self._changed:
            self._raise_if_stopped()
            if self._todo and self._failure is None:
                return _Task(*self._todo.popleft())
            self._leave()
            return None

    def _leave(self) -> None:
        """One worker fewer; in one step with what it decided by, or all could rely on each other and go."""
        self._active -= 1
        self._changed.notify_all()

    def _give_back(self, start: int, end: int | None) -> None:
        with self._changed:
            if self._ranged:
                if start != end:
                    self._todo.appendleft((start, end))
                return
            self._todo.appendleft((0, end))
            self._spans = Spans()
            self._generation += 1

    def _fetch(self, task: _Task) -> None:
        """Bring one piece. Raises `_Broken` with the position reached."""
        position, end = task.start, task.end
        try:
            with task.stack or ExitStack() as stack:
                piece = task.piece or stack.enter_context(self._remote.open(position, end))
                if piece.start != position or piece.version != self._partial.version:
                    raise Changed("the file changed while it was being fetched")
                for chunk in piece.chunks:
                    if position == end:
                        break  # the source sends more than it was asked for
                    data = chunk if end is None else chunk[: end - position]
                    self._store(data, position)
                    position += len(data)
        except FetchError as error:
            if not error.retryable:
                raise
            raise _Broken(position, error) from None
        if end is None:
            with self._changed:
                self._size = position
        elif position < end and task.piece is not None and self._ranged:
            self._give_back(position, end)  # the opening request asked for less than the whole piece
        elif position < end:
            raise _Broken(position, Unreachable("the source sent less than it was asked for"))

    def _store(self, data: bytes, position: int) -> None:
        if position + len(data) > self._max_bytes:
            raise TooLarge(f"the file has more than {self._max_bytes} bytes")
        if self._failure is not None or self._stop.is_set():
            raise Stopped
        self._partial.write(data, position)
        with self._changed:
            self._spans.add(position, position + len(data))
            self._high = max(self._high, self._spans.total)
            self._changed.notify_all()

    def _wait_after(self, error: FetchError, attempts: int) -> None:
        """Wait before the next try. Raises `error` when there is none."""
        if self._stop.wait(pause(error, attempts, self._pace, self._jitter())):
            raise Stopped

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            if self._failure is None or isinstance(self._failure, Stopped):
                self._failure = error
            self._changed.notify_all()

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise Stopped

    # What the calling thread does

    def _follow(self) -> tuple[str, int]:
        """Hash what arrives, in order; record and report on the way. Returns the digest and the size."""
        hashing, generation = FrontHash(self._check), self._generation
        saved = noted = told = time.monotonic()
        least_pace = _LeastPace(self._pace, self._high)
        while True:
            with self._changed:
                if self._failure is not None:
                    raise self._failure
                if generation != self._generation:
                    hashing.reset()
                    generation = self._generation
                front, there = self._spans.front, self._spans.total
                if front == hashing.done:
                    if self._active == 0:
                        break
                    self._changed.wait(self._pace.tell_every_s)
                record = self._spans.to_json()
            least_pace.look(self._high)
            hashing.advance(self._partial.fd, front, self._size)
            clock = time.monotonic()
            if clock - told >= self._pace.tell_every_s:
                told = clock
                self._on_bytes(there, self._size)
            if clock - saved >= self._pace.save_every_s:
                saved = noted = clock
                self._partial.save(record)
            elif clock - noted >= self._pace.note_every_s:
                noted = clock
                self._partial.note(record)
        self._raise_if_stopped()
        if self._size is not None and hashing.done != self._size:
            raise Unreachable(f"the source sent {hashing.done} of {self._size} bytes")
        self._on_bytes(hashing.done, hashing.done)
        return hashing.hexdigest(), hashing.done


class _LeastPace:
    """A source's least progress, by the most bytes that were ever there."""

    def __init__(self, pace: RetrySettings, there: int) -> None:
        self._pace = pace
        self._begin(there)

    def _begin(self, there: int) -> None:
        self._awaited = there + self._pace.least_bytes
        self._due = running() + self._pace.patience_s

    def look(self, there: int) -> None:
        """Raise Unreachable once too little has come for too long."""
        if there >= self._awaited:
            self._begin(there)
        elif running() > self._due:
            raise Unreachable(f"the source sent hardly a byte in {self._pace.patience_s:g} s")


@dataclass(frozen=True, slots=True)
class _Task:
    """A piece to bring, and the answer that already brings it, if any."""

    start: int
    end: int | None
    piece: RangeResponse | None = None
    stack: ExitStack | None = None


class _Broken(Exception):
    """A piece broke off after `position`."""

    def __init__(self, position: int, cause: FetchError) -> None:
        super().__init__(str(cause))
        self.position = position
        self.cause = cause
