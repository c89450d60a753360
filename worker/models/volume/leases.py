"""Leases: which of the workers on a volume downloads what; and the identity of a process on it.

A lease is an economy, not a lock: where it fails (a file system that can't create files exclusively, a worker that was
only frozen, clocks that are far apart) two workers download the same and both results are right.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

from worker.common.atomic_files import write_atomically
from worker.models.format.filenames import short_hash

if TYPE_CHECKING:
    from collections.abc import Callable

_ENDING, _PROGRESS = ".lease", ".progress"
_REPORT_EVERY_S = 0.5
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_TICKS = 19  # of /proc/<pid>/stat, counted after the name in parentheses


@dataclass(frozen=True, slots=True)
class LeaseState:
    """The progress of a lease's holder.

    Attributes:
        done: Bytes that it has downloaded.
        total: Bytes in all, None when unknown.
        live_s: Its setting for the life of a lease; None when unknown.
    """

    done: int = 0
    total: int | None = None
    live_s: float | None = None


class Lease:
    """A lease that this process holds until `release`.

    Args:
        lock: Acquired.
        progress: File that tells other workers how far the holder is.
        now: A monotonic clock in seconds.
    """

    def __init__(self, lock: SoftFileLease, progress: Path, *, now: Callable[[], float] = time.monotonic) -> None:
        self._lock = lock
        self._token = lock.token or ""
        self._progress = progress
        self._now = now
        self._told_at = float("-inf")
        self.report(0, None)

    def report(self, done: int, total: int | None) -> None:
        """Tell the other workers how far the download is, now and then."""
        if self._now() - self._told_at < _REPORT_EVERY_S:
            return
        self._told_at = self._now()
        data = orjson.dumps({"done": done, "total": total, "live_s": self._lock.lease_duration})
        with contextlib.suppress(OSError):  # a full disk: they see less
            write_atomically(self._progress, data, durable=False)

    def is_ours(self) -> bool:
        """Return whether this process still holds it: a worker that was frozen may have lost it meanwhile."""
        if self._lock.compromise is not None:
            return False
        try:
            return self._token.encode() in Path(self._lock.lock_file).read_bytes()
        except FileNotFoundError:
            return False
        except OSError:
            return True  # an unwell volume says nothing

    def release(self) -> None:
        """Give the lease up, if it is still ours."""
        if self.is_ours():
            with contextlib.suppress(OSError):
                self._progress.unlink()
        with contextlib.suppress(OSError):  # it expires
            self._lock.release()


class LeaseTable:
    """The leases of a volume.

    Args:
        folder: Where they are.
        live_s: A lease that has not been renewed for so long may be taken over; that of a process of this machine
            that has ended, at once.
    """

    def __init__(self, folder: Path, *, live_s: float) -> None:
        self._folder = folder
        self._live_s = live_s

    def take(self, identity: str) -> Lease | None:
        """Take the lease; None when another worker has it.

        Args:
            identity: What will be downloaded.

        Raises:
            OSError: leases can't be written here.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._take(self.path(identity))

    def path(self, identity: str) -> Path:
        """Return the file of a lease."""
        return self._folder / f"{short_hash(identity)}{_ENDING}"

    def look(self, identity: str) -> LeaseState:
        """Return how far the holder of a lease is."""
        return _read_progress(self.path(identity))

    def sweep(self) -> tuple[list[Path], bool]:
        """Remove the leases of dead processes; return their files, and whether any process holds a lease."""
        removed, held = [], False
        for path in self._folder.glob(f"*{_ENDING}"):
            lease = self._take(path) or self._take(path)  # the first may only have broken a stale one
            if lease is None:
                held = True
            else:
                lease.release()
                removed.append(path)
        return removed, held

    def _take(self, path: Path) -> Lease | None:
        live_s = self._live_s
        for _ in range(2):
            lock = SoftFileLease(path, lease_duration=live_s, thread_local=False)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                return None
            except LeaseSettingsMismatch:  # the holder has another MODEL_LEASE_S, and its own word counts
                theirs = _read_progress(path).live_s
                if theirs is None or theirs == live_s:
                    return None
                live_s = theirs
            else:
                return Lease(lock, path.with_suffix(_PROGRESS))
        return None


def _read_progress(lease: Path) -> LeaseState:
    try:
        data = orjson.loads(lease.with_suffix(_PROGRESS).read_bytes())
    except (OSError, ValueError):
        return LeaseState()
    if not isinstance(data, dict):
        return LeaseState()
    done, total, live_s = data.get("done"), data.get("total"), data.get("live_s")
    return LeaseState(
        done if isinstance(done, int) else 0,
        total if isinstance(total, int) else None,
        float(live_s) if isinstance(live_s, int | float) and live_s > 0 else None,
    )


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process.

    Attributes:
        token: Unique; safe in file names.
        machine: Boot and process id space: only processes that share it can see each other.
        pid: In that space.
        started: Start time in ticks, so that a reused pid is not mistaken for this process.
    """

    token: str
    machine: str
    pid: int
    started: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return {"owner": self.token, "machine": self.machine, "pid": self.pid, "started": self.started}


def this_process() -> ProcessIdentity:
    """Return a new owner for this process; each call gives another token."""
    pid = os.getpid()
    return ProcessIdentity(f"{pid}-{secrets.token_hex(4)}", _machine(), pid, _started(pid) or 0)


def is_process_dead(data: dict[str, Any], here: ProcessIdentity) -> bool:
    """Return whether the described process is known to be gone; False for those of other machines."""
    if data.get("machine") != here.machine or not isinstance(data.get("pid"), int):
        return False
    return _started(data["pid"]) != data.get("started")


def this_boot() -> str:
    """Return what tells one run of one machine's kernel from every other, or something new where nothing does."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return secrets.token_hex(16)


def _machine() -> str:
    try:
        boot = _BOOT_ID.read_text().strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return secrets.token_hex(8)
    return f"{boot}/{space}"


def _started(pid: int) -> int | None:
    """Return the start time of a running process; None when there is none (or it is a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[_START_TICKS])
