"""Reading and merging the registry on a volume that several workers share.

Every change is a merge: read what is there now, apply one function, write a unique temporary file, fsync, rename. A
reader therefore always sees a whole file. An advisory lock keeps two merges apart where the file system honours locks;
where it does not, a merge can be lost, which the next look at the folder repairs.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from filelock import FileLock

from worker.common.atomic_files import temporary_pattern, write_atomically
from worker.models.volume.registry import MAX_REGISTRY_BYTES, BrokenRegistry, Entries, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCK_PATIENCE_S = 5.0
DEAD_AFTER_S = 600.0
"""A temporary file of this age belongs to a worker that was killed while it wrote."""
_LOCK_POLL_S = 0.01
Stamp = tuple[int, int, int]


class RegistryFile:
    """The registry of one volume.

    Args:
        path: The file; need not exist.
        lock: The lock's file.
        set_aside: Called with the name a broken registry was kept under.
    """

    def __init__(self, path: Path, lock: Path, *, set_aside: Callable[[str], None]) -> None:
        self.path = path
        self._name = str(path)
        self._lock = lock
        self._set_aside = set_aside
        self._cached: tuple[Stamp, Entries] | None = None

    def read(self) -> Entries | None:
        """Return the entries, from memory while the file has not changed; None when there is no usable registry.

        What was read last counts while the file can't be: an unwell volume says nothing about the models.
        """
        try:
            stamp = self._stamp()
            if stamp is None:
                return None
            if self._cached is not None and self._cached[0] == stamp:
                return self._cached[1]
            entries = self._load()
        except BrokenRegistry:
            return None
        except OSError:
            return self._cached[1] if self._cached is not None else None
        if entries is not None:
            self._cached = (stamp, entries)
        return entries

    def change(self, apply: Callable[[Entries], Entries], *, rebuild: Callable[[], Entries]) -> Entries:
        """Merge one change and return what is now written.

        Args:
            apply: From the entries that are there to those that should be; nothing is written when they are equal.
            rebuild: What the folder says, for a registry that is lost or broken.

        Raises:
            OSError: the volume can't be written (read-only, full) or the registry not be read.
        """
        with self._alone():
            stamp = self.stamp()
            try:
                current = self._load()
            except BrokenRegistry:
                self._keep_broken(stamp)
                current = None
            wanted = apply(dict(current if current is not None else rebuild()))
            if wanted != current:
                self._write(encode(wanted))
            return wanted

    def _load(self) -> Entries | None:
        """Return what is there; None when there is no registry. Raises BrokenRegistry, OSError."""
        try:
            with self.path.open("rb") as file:
                return decode(file.read(MAX_REGISTRY_BYTES))[0]
        except FileNotFoundError:
            return None

    def _keep_broken(self, stamp: Stamp | None) -> None:
        """Set the broken registry aside, unless another worker has put a whole one in its place."""
        aside = self.path.with_name(f"{self.path.name}.broken-{time.time_ns()}")
        with contextlib.suppress(OSError):
            if self.stamp() == stamp:
                self.path.rename(aside)
                self._set_aside(aside.name)

    def stamp(self) -> Stamp | None:
        """Return what changes whenever the file does; None when there is none, or it can't be told."""
        try:
            return self._stamp()
        except OSError:
            return None

    def _stamp(self) -> Stamp | None:
        """Like `stamp`. Raises OSError: it can't be told."""
        try:
            facts = os.stat(self._name)  # noqa: PTH116 - the method of paths takes three times as long
        except FileNotFoundError:
            return None
        return facts.st_ino, facts.st_size, facts.st_mtime_ns

    def _write(self, raw: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, raw)
        self._sweep()

    def _sweep(self) -> None:
        """Remove what killed workers left; ages are by the volume's own clock."""
        now = self.path.stat().st_mtime
        for left in self.path.parent.glob(temporary_pattern(self.path.name)):
            with contextlib.suppress(OSError):  # another worker is removing it too
                if now - left.stat().st_mtime > DEAD_AFTER_S:
                    left.unlink()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock if it can be had in time; go on without it otherwise."""
        self._lock.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock, timeout=LOCK_PATIENCE_S, poll_interval=_LOCK_POLL_S, mode=0o666)
        with contextlib.suppress(OSError, NotImplementedError):  # held for long, or a file system without locks
            lock.acquire()
        try:
            yield
        finally:
            lock.release()
