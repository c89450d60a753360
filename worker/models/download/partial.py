"""Partial files: a download in progress, and beside it a record of the byte ranges that are safely there.

The record names the ranges that were flushed before it was written, which any reader can trust after any crash, and
those that were only written: these are there as long as the kernel that took them runs, so they count for a reader on
the same machine since the same boot (a killed process loses next to nothing).

A partial file left by a dead process is taken over by renaming it: of several takers one succeeds. Its data is used
only where the source can say (`ETag`, `Last-Modified`) that it still offers the same file.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from worker.common.atomic_files import write_atomically
from worker.models.format.filenames import short_hash
from worker.models.sources.http_file import Version
from worker.models.volume.availability import SPACE_ERRORS
from worker.models.volume.leases import this_boot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ENDING = ".part"
RECORD = ".ranges"


class Spans:
    """Disjoint half-open ranges ``[begin, end)``, sorted; neighbours are merged."""

    __slots__ = ("_begins", "_ends")

    def __init__(self, ranges: tuple[tuple[int, int], ...] = ()) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for begin, end in ranges:
            self.add(begin, end)

    def __iter__(self) -> Any:
        return iter(list(zip(self._begins, self._ends, strict=True)))

    def add(self, begin: int, end: int) -> None:
        """Add a range; it may overlap what is there."""
        if begin >= end:
            return
        first = bisect_left(self._ends, begin)
        last = first
        while last < len(self._begins) and self._begins[last] <= end:
            begin, end = min(begin, self._begins[last]), max(end, self._ends[last])
            last += 1
        self._begins[first:last] = [begin]
        self._ends[first:last] = [end]

    @property
    def total(self) -> int:
        """Bytes in the set."""
        return sum(self._ends) - sum(self._begins)

    @property
    def front(self) -> int:
        """End of the range that starts at 0: everything before it is there."""
        return self._ends[0] if self._begins and self._begins[0] == 0 else 0

    def gaps(self, size: int) -> list[tuple[int, int]]:
        """Return what is missing of ``[0, size)``, in order."""
        found, position = [], 0
        for begin, end in self:
            if begin > position:
                found.append((position, min(begin, size)))
            position = max(position, end)
        if position < size:
            found.append((position, size))
        return [(begin, end) for begin, end in found if begin < end]

    def to_json(self) -> list[list[int]]:
        """Return ``[[begin, end], …]``."""
        return [[begin, end] for begin, end in self]

    @classmethod
    def from_json(cls, data: Any, size: int) -> Spans:
        """Return the ranges of `to_json`'s answer; anything that is not a range inside ``[0, size)`` is left out."""
        pairs = [pair for pair in data if isinstance(pair, list) and len(pair) == 2] if isinstance(data, list) else []  # noqa: PLR2004  begin and end
        good = [
            (begin, end)
            for begin, end in pairs
            if isinstance(begin, int) and isinstance(end, int) and 0 <= begin < end <= size
        ]
        return cls(tuple(good))


@dataclass(frozen=True, slots=True)
class _Record:
    """The record of a leftover: flushed ranges, and those that are there for this machine alone."""

    version: Version = field(default_factory=lambda: Version(None, None))
    flushed: Spans = field(default_factory=Spans)
    there: Spans = field(default_factory=Spans)


class DiskFull(Exception):
    """The file system has no room for the file."""


class Partial:
    """One file on its way.

    Args:
        folder: Where it grows; on the file system of its final place.
        identity: What is fetched; equal identities find each other's leftovers.
        owner: Unique to this process.
        adopt: Whether leftovers of other processes may be taken: only while nobody else can be fetching the same.
    """

    def __init__(self, folder: Path, identity: str, owner: str, *, adopt: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        prefix = short_hash(identity)
        self.path = folder / f"{prefix}-{owner}{ENDING}"
        self.version = Version(None, None)
        self.spans = Spans()
        self._boot = this_boot()
        self._flushed: list[list[int]] = []
        self._doubtful = False
        if self.path.exists():
            self._adopt(self._read(self._record))
        if adopt:
            self._claim(folder, prefix)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    @property
    def fd(self) -> int:
        """The open file's descriptor."""
        return self._fd

    @property
    def allocated(self) -> int:
        """Bytes of the disk that it holds already; all or none of them can be used for the file that is coming."""
        return os.fstat(self._fd).st_blocks * 512

    def begin(self, version: Version) -> None:
        """Say which file is coming: what is there of the same one stays, anything else goes; room is reserved.

        Raises:
            DiskFull: there is no room for it.
        """
        self._doubtful = False
        if not (version.resumable and version == self.version):
            self.restart(version)
        if version.size is not None:
            _reserve(self._fd, version.size)

    def restart(self, version: Version) -> None:
        """Forget what is there. A new inode: a stopped process that wakes up can't write into this one's data."""
        self.close()
        self._unlink(self.path)
        self._unlink(self._record)
        self.spans = Spans()
        self._flushed = []
        self.version = version
        with _space_errors():
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def write(self, data: bytes, offset: int) -> None:
        """Write at `offset`. Raises `DiskFull`; other OSErrors pass."""
        view = memoryview(data)
        with _space_errors():
            while view:
                written = os.pwrite(self._fd, view, offset)
                view, offset = view[written:], offset + written

    def save(self, spans: list[list[int]]) -> None:
        """Flush the data, then record that these ranges are there. Without a resumable version nothing is recorded."""
        if not self.version.resumable or self._doubtful:
            return
        with _space_errors():
            self._flush(os.fdatasync)
            self._flushed = spans
            self._write_record(spans)

    def note(self, spans: list[list[int]]) -> None:
        """Record that these ranges were written, without flushing them: enough if this process is killed."""
        if self.version.resumable and not self._doubtful:
            with _space_errors():
                self._write_record(spans)

    def take_file(self, path: Path) -> None:
        """Put a whole file, fetched by other means on the same file system, in this partial's place."""
        self.close()
        self._unlink(self._record)
        path.replace(self.path)
        self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)

    def finish(self, size: int) -> None:
        """Cut to `size` and flush; the file can be renamed now."""
        with _space_errors():
            os.ftruncate(self._fd, size)
            self._flush(os.fsync)

    def move_to(self, final: Path) -> None:
        """Give the file its final name and make that durable.

        Raises:
            FileNotFoundError: another worker took the partial over.
        """
        final.parent.mkdir(parents=True, exist_ok=True)
        self.path.replace(final)
        self._unlink(self._record)
        with contextlib.suppress(OSError):  # some file systems can't fsync folders
            folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._unlink(self.path)
        self._unlink(self._record)

    def close(self) -> None:
        """Close the file; what is there stays for a later resume."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _flush(self, flush: Callable[[int], None]) -> None:
        """Flush; where that fails only what was flushed before counts: the kernel may have dropped the rest.

        Network volumes and quotas refuse bytes that they took only here, and say so once.
        """
        try:
            flush(self._fd)
        except OSError:
            self._doubtful = True
            self.spans = Spans.from_json(self._flushed, self.version.size or 0)
            with contextlib.suppress(OSError):
                self._write_record(self._flushed)
            raise

    @property
    def _record(self) -> Path:
        return self.path.with_name(f"{self.path.name}{RECORD}")

    def _claim(self, folder: Path, prefix: str) -> None:
        """Take over the leftover that has most, remove the others."""
        leftovers = [each for each in folder.glob(f"{prefix}-*{ENDING}") if each != self.path]
        records = {each: self._read(each.with_name(f"{each.name}{RECORD}")) for each in leftovers}
        for each in sorted(leftovers, key=lambda each: -records[each].there.total):
            if self.spans.total < records[each].there.total:
                with contextlib.suppress(FileNotFoundError):
                    each.replace(self.path)
                    self._adopt(records[each])
                    self._write_record(self.spans.to_json())
            self._unlink(each)
            self._unlink(each.with_name(f"{each.name}{RECORD}"))

    def _adopt(self, record: _Record) -> None:
        self.version, self.spans, self._flushed = record.version, record.there, record.flushed.to_json()

    def _write_record(self, written: list[list[int]]) -> None:
        record = {
            "size": self.version.size,
            "tag": self.version.tag,
            "done": self._flushed,
            "written": written,
            "boot": self._boot,
        }
        write_atomically(self._record, orjson.dumps(record), durable=False)

    def _read(self, path: Path) -> _Record:
        try:
            data: Any = orjson.loads(path.read_bytes())
        except (OSError, ValueError):
            return _Record()
        if not isinstance(data, dict) or not isinstance(data.get("size"), int) or not isinstance(data.get("tag"), str):
            return _Record()
        size = data["size"]
        flushed = Spans.from_json(data.get("done"), size)
        there = Spans.from_json(data.get("written"), size) if data.get("boot") == self._boot else flushed
        return _Record(Version(size, data["tag"]), flushed, there)

    @staticmethod
    def _unlink(path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()


def _reserve(fd: int, size: int) -> None:
    """Reserve room where the file system can (glibc's fallback would write every block), else only set the length."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    if size > 0 and libc.fallocate(fd, 0, 0, size) != 0 and ctypes.get_errno() in SPACE_ERRORS:
        raise DiskFull
    with _space_errors():
        os.ftruncate(fd, size)


@contextlib.contextmanager
def _space_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in SPACE_ERRORS:
            raise DiskFull from None
        raise
