# DOCS: Who a process is to the other workers on a volume, and whether one of them is still alive.
"""Who fetches what, among the workers of a volume.

A lease is a file with the owner's name and a heartbeat. It is an economy, not a lock: where it fails (a file system
without links, a worker that was only frozen) two workers fetch the same and both results are right. No clock is
compared with another machine's: a lease is stale when its heartbeat has not changed for a while by the watcher's own
clock, or when its process is known to be dead.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from worker.models.format.filenames import short_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BEATS = 5  # per time to live


@dataclass(frozen=True, slots=True)
class LeaseState:
    """A lease as another worker sees it.

    Attributes:
        mark: Changes with every heartbeat.
        done: Bytes that its owner has fetched.
        total: Bytes in all, None when unknown.
        dead: Its process is known to be gone.
    """

    mark: str
    done: int
    total: int | None
    dead: bool


class LeaseTable:
    """The leases of a volume.

    Args:
        folder: Where they are.
        owner: This process.
        live_s: A lease whose heartbeat stands still for so long is stale.
    """

    def __init__(self, folder: Path, owner: ProcessIdentity, *, live_s: float) -> None:
        self._folder = folder
        self.owner = owner
        self.live_s = live_s

    def path(self, identity: str) -> Path:
        """Return the lease file of what is fetched."""
        return self._folder / f"{short_hash(identity)}.lease"

    def look(self, identity: str) -> LeaseState | None:
        """Return the lease if somebody has it."""
        return self._seen(self.path(identity))

    def _seen(self, path: Path) -> LeaseState | None:
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        data = _parse(raw)
        total = data.get("total")
        return LeaseState(
            mark=f"{data.get('owner')}/{data.get('beat')}/{len(raw)}",
            done=data["done"] if isinstance(data.get("done"), int) else 0,
            total=total if isinstance(total, int) else None,
            dead=is_process_dead(data, self.owner),
        )

    def dead_files(self) -> list[Path]:
        """Return the lease files whose processes are known to be gone."""
        return [path for path in self._folder.glob("*.lease") if (sight := self._seen(path)) and sight.dead]

    def anybody(self) -> bool:
        """Return whether some process that is not known to be gone has a lease."""
        return len(self.dead_files()) < len(list(self._folder.glob("*.lease")))

    def take(self, identity: str, *, instead_of: LeaseState | None = None) -> Lease | None:
        """Take the lease; None when another worker has it.

        Args:
            identity: What will be fetched.
            instead_of: A stale lease that may be broken.

        Raises:
            OSError: leases can't be written here.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self.path(identity)
        if instead_of is not None and not self._break(identity, instead_of):
            return None
        lease = Lease(path, self.owner, every_s=self.live_s / _BEATS)
        return lease if lease.create() else None

    def _break(self, identity: str, stale: LeaseState) -> bool:
        """Remove a stale lease; False when it turned out to be another one."""
        path = self.path(identity)
        grave = path.with_name(f".{path.name}.{self.owner.token}")
        seen = self.look(identity)
        if seen is None:
            return True
        if seen.mark != stale.mark:
            return False
        try:
            path.rename(grave)
        except FileNotFoundError:
            return True
        data = _parse(grave.read_bytes())
        fresh = not stale.mark.startswith(f"{data.get('owner')}/{data.get('beat')}/")
        with contextlib.suppress(OSError):  # the one taken by mistake goes back unless a newer one is there
            if fresh:
                os.link(grave, path)
        grave.unlink(missing_ok=True)
        return not fresh

    def watch(
        self, identity: str, *, now: Callable[[], float] = time.monotonic
    ) -> Iterator[tuple[LeaseState | None, bool]]:
        """Yield ``(lease, stale)`` at each step; the caller decides when to take the next."""
        mark, since = "", now()
        while True:
            sight = self.look(identity)
            if sight is not None and sight.mark != mark:
                mark, since = sight.mark, now()
            yield sight, sight is not None and (sight.dead or now() - since > self.live_s)


class Lease:
    """A lease of this process; a thread keeps its heartbeat going until `release`.

    Attributes:
        done: Bytes fetched so far; other workers see it with the next heartbeat.
        total: Bytes in all.
    """

    def __init__(self, path: Path, owner: ProcessIdentity, *, every_s: float) -> None:
        self.done = 0
        self.total: int | None = None
        self._path = path
        self._owner = owner
        self._every_s = every_s
        self._beat = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def create(self) -> bool:
        """Create the file; False when there is one."""
        temporary = self._temporary()
        try:
            temporary.write_bytes(self._content())
            try:
                os.link(temporary, self._path)
            except FileExistsError:
                return False
            except OSError:  # no hard links here: exclusive creation, with a moment in which it is empty
                try:
                    with self._path.open("xb") as file:
                        file.write(self._content())
                except FileExistsError:
                    return False
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
        self._thread.start()
        return True

    def release(self) -> None:
        """Give the lease up, if it is still ours."""
        self._over.set()
        self._thread.join()
        if self._is_ours():
            with contextlib.suppress(OSError):  # it goes stale
                self._path.unlink()

    def _keep(self) -> None:
        while not self._over.wait(self._every_s):
            self._beat += 1
            if not self._is_ours():
                return  # taken over: this process was taken for dead
            temporary = self._temporary()
            try:
                temporary.write_bytes(self._content())
                temporary.replace(self._path)
            except OSError:
                with contextlib.suppress(OSError):
                    temporary.unlink()

    def _is_ours(self) -> bool:
        try:
            return bool(_parse(self._path.read_bytes()).get("owner") == self._owner.token)
        except OSError:
            return False

    def _temporary(self) -> Path:
        return self._path.with_name(f".{self._path.name}.{self._owner.token}.{threading.get_ident()}.tmp")

    def _content(self) -> bytes:
        return orjson.dumps({**self._owner.to_json(), "beat": self._beat, "done": self.done, "total": self.total})


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        data = orjson.loads(raw)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_TICKS = 19  # of /proc/<pid>/stat, counted after the name in parentheses


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
