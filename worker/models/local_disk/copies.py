"""Copies of checkpoints on a local disk, which the WebUI finds in its view of the checkpoint folder.

Where there is no room for a copy the view leads to the true file. Local means local: one machine, a file system on
which locks work. Each worker has a folder of its own below the root and holds a lock on it while it lives; the copies
of dead ones are taken over.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from worker.models.format.filenames import short_hash
from worker.models.local_disk.readahead import warm
from worker.models.local_disk.view import CheckpointView

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.settings import Settings

log = logging.getLogger(__name__)

_BLOCK = 8 * 1024 * 1024
_LOCK = "lock"
_OURS = "worker-"
_GIVE_UP_S = 5.0


@dataclass(frozen=True, slots=True)
class Copy:
    """A whole copy, and the state of the true file that it is of.

    Attributes:
        path: Where it is.
        size: Bytes.
        changed: The true file's time of change, nanoseconds.
    """

    path: Path
    size: int
    changed: int


class Staging:
    """The copies of one worker and its view.

    Args:
        folder: The true folder of the checkpoints.
        root: A folder on a local disk, for all workers of this machine.
        floor: Bytes that stay free there.
        free: Returns the bytes that are free at a path.

    Raises:
        OSError: nothing can be written below `root`.
    """

    def __init__(
        self, folder: Path, root: Path, *, floor: int, free: Callable[[Path], int] = lambda p: shutil.disk_usage(p).free
    ) -> None:
        self._floor = floor
        self._free = free
        self._mutex = threading.RLock()
        self._copies: dict[str, Copy] = {}  # by path below the folder, the least recently used first
        self._wishes: list[str] = []
        self._wished = threading.Condition()
        self._stop = threading.Event()
        root.mkdir(parents=True, exist_ok=True)
        self._own = root.absolute() / f"{_OURS}{os.getpid()}-{secrets.token_hex(4)}"
        with FileLock(root / f".{_LOCK}"):
            self._own.mkdir()
            self._lock = FileLock(self._own / _LOCK, thread_local=False)
            self._lock.acquire()
            self._copies_folder.mkdir()
            self.view = CheckpointView(folder, self._own / "checkpoints")
            self._inherit(root)
        self.sync()
        self._thread = threading.Thread(target=self._work, name="staging", daemon=True)
        self._thread.start()

    def sync(self) -> None:
        """Make the view agree with the true folder: files come and go, and are replaced.

        Where the folder can't be read nothing changes.
        """
        with self._mutex, contextlib.suppress(OSError):
            files = self.view.files()
            for file in list(self._copies):
                if file not in files or not self._is_current(file):
                    self._forget(file)
            self.view.update(files, {file: copy.path for file, copy in self._copies.items()})

    def true(self, filename: str) -> str:
        """Return the true place of a file that the WebUI lists; other paths come back as they are."""
        return self.view.true(filename)

    def use(self, path: Path) -> None:
        """Take note that a checkpoint is wanted: it is copied, or its copy read into memory, soon; return at once."""
        file = str(path.absolute().relative_to(self.view.folder))
        with self._mutex:
            if file in self._copies:
                self._copies[file] = self._copies.pop(file)
        with self._wished:
            self._wishes = [file, *(each for each in self._wishes if each != file)]
            self._wished.notify()

    def doubt(self, path: Path) -> None:
        """Drop the copy of a checkpoint that the WebUI could not load: the true file is what counts."""
        with self._mutex, contextlib.suppress(OSError):
            self._forget(str(path.absolute().relative_to(self.view.folder)))

    def staged(self) -> list[str]:
        """Return the files that have a copy, the least recently used first."""
        with self._mutex:
            return list(self._copies)

    def settle(self, timeout: float) -> bool:
        """Wait until every wish is fulfilled or has failed; return False when that takes longer than `timeout`."""
        with self._wished:
            return self._wished.wait_for(lambda: not self._wishes or self._stop.is_set(), timeout)

    def close(self) -> None:
        """Stop copying. The copies stay for the next worker on this machine."""
        self._stop.set()
        with self._wished:
            self._wished.notify_all()
        self._thread.join(_GIVE_UP_S)
        self._lock.release()

    @property
    def _copies_folder(self) -> Path:
        return self._own / "copies"

    def _inherit(self, root: Path) -> None:
        """Take over what dead workers copied, remove the rest of what they left."""
        for other in root.glob(f"{_OURS}*"):
            if other == self._own:
                continue
            try:
                with FileLock(other / _LOCK, blocking=False):
                    for copy in (other / "copies").glob("*"):
                        if not copy.name.startswith("."):
                            copy.replace(self._copies_folder / copy.name)
                    shutil.rmtree(other, ignore_errors=True)
            except Timeout:
                continue  # it lives
        found = sorted(self._copies_folder.iterdir(), key=lambda each: each.stat().st_atime)
        wanted = {file: self._copy_of(file, path) for file, path in self.view.files().items()} if found else {}
        files = {copy.path.name: (file, copy) for file, copy in wanted.items() if copy is not None}
        for each in found:
            known = files.get(each.name)
            if known is not None and each.stat().st_size == known[1].size:
                self._copies[known[0]] = known[1]
            else:
                each.unlink()

    def _copy_of(self, file: str, path: Path) -> Copy | None:
        """Return the copy that a file would have; None when the file is gone."""
        try:
            facts = path.stat()
        except OSError:
            return None
        name = f"{short_hash(file)}-{facts.st_size}-{facts.st_mtime_ns}{path.suffix}"
        return Copy(self._copies_folder / name, facts.st_size, facts.st_mtime_ns)

    def _is_current(self, file: str) -> bool:
        return self._copies.get(file) == self._copy_of(file, self.view.folder / file)

    def _forget(self, file: str) -> None:
        """Remove a copy. The link leads elsewhere first, so the WebUI never finds nothing."""
        copy = self._copies.pop(file, None)
        if copy is None:
            return
        true = self.view.folder / file
        if true.exists():
            self.view.link(file, true)
        copy.path.unlink(missing_ok=True)

    def _work(self) -> None:
        while True:
            with self._wished:
                self._wished.wait_for(lambda: self._wishes or self._stop.is_set())
                if self._stop.is_set():
                    return
                file = self._wishes[0]
            try:
                self._stage(file)
            except OSError as error:  # a help, never a condition: the link to the true file does
                log.warning("no local copy of %s: %s", file, error.strerror)
            with self._wished:
                self._wishes = [each for each in self._wishes if each != file]
                self._wished.notify_all()

    def _stage(self, file: str) -> None:
        """Copy a file, or read its copy into memory. Raises OSError."""
        source = self.view.folder / file
        with self._mutex:
            if file in self._copies and not self._is_current(file):
                self._forget(file)
            copy = self._copies.get(file)
        if copy is not None:
            warm(copy.path, self._stop)
            return
        wanted = self._copy_of(file, source)
        if wanted is None:
            return
        if not self._make_room(wanted.size):
            log.info("no room for a local copy of %s (%d bytes)", file, wanted.size)
            warm(source, self._stop)
            return
        temporary = wanted.path.with_name(f".{wanted.path.name}.part")
        try:
            if not self._copied(source, temporary):
                return
            with self._mutex:
                if temporary.stat().st_size != wanted.size or self._copy_of(file, source) != wanted:
                    return  # replaced meanwhile: the next use copies the new one
                temporary.replace(wanted.path)
                self._copies[file] = wanted
                self.view.link(file, wanted.path)
        finally:
            temporary.unlink(missing_ok=True)
        log.info("%s has a local copy (%d bytes)", file, wanted.size)

    def _copied(self, source: Path, target: Path) -> bool:
        """Copy the bytes and flush them; False when told to stop. Raises OSError."""
        buffer = memoryview(bytearray(_BLOCK))
        with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
            os.posix_fadvise(reader.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
            while count := reader.readinto(buffer):
                if self._stop.is_set():
                    return False
                left = buffer[:count]
                while left:
                    left = left[writer.write(left) :]
            os.fdatasync(writer.fileno())
        return True

    def _make_room(self, size: int) -> bool:
        """Remove the least recently used copies until `size` bytes fit; keep them all when that would not do."""
        with self._mutex:
            lacking = size + self._floor - self._free(self._copies_folder)
            if lacking > sum(copy.size for copy in self._copies.values()):
                return False
            for file, copy in list(self._copies.items()):
                if lacking <= 0:
                    break
                self._forget(file)
                lacking -= copy.size
        return True


def copies(checkpoint: Path, folder: Path, settings: Settings) -> Staging | None:
    """Begin to copy the checkpoint to the local disk that the settings name; return at once.

    Args:
        checkpoint: The file, in `folder`.
        folder: Of all checkpoints.
        settings: The worker's.

    Returns:
        The local copies; None where that disk can't be used.
    """
    if settings.staging_dir is None:
        return None
    try:
        staging = Staging(folder, settings.staging_dir, floor=settings.staging_free_bytes)
    except OSError as error:
        log.warning("no local copies of checkpoints: STAGING_DIR can't be used (%s)", error.strerror)
        return None
    staging.use(checkpoint)
    return staging
