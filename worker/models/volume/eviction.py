"""Room on the volume: how much there is, and which models go first when there is too little."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from worker.models.volume.integrity import FETCHED
from worker.models.volume.registry import as_measured
from worker.settings import LISTED_AT_START

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.models.volume.in_use import UsageMarkers
    from worker.models.volume.inventory import Inventory
    from worker.models.volume.registry import Entry

log = logging.getLogger(__name__)

STALE_PARTIAL_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could be removed."""

    key: str
    size: int
    last_used: float


def plan_eviction(candidates: Iterable[Candidate], need: int) -> list[Candidate] | None:
    """Return what to remove so that `need` bytes become free, least recently used first.

    None when even all of it is not enough: then nothing should be removed at all.
    """
    if need <= 0:
        return []
    chosen, freed = [], 0
    for candidate in sorted(candidates, key=lambda each: (each.last_used, -each.size, each.key)):
        chosen.append(candidate)
        freed += candidate.size
        if freed >= need:
            return chosen
    return None


class Evictor:
    """The room of one volume.

    Args:
        inventory: What is there.
        marks: What is in use.
        floor: Bytes to keep free.
        evict: Whether models may be removed to make room.
        wall: Seconds since the epoch.
        free: Returns the free bytes of a folder's file system; default: what the system says.
    """

    def __init__(
        self,
        inventory: Inventory,
        marks: UsageMarkers,
        *,
        floor: int,
        evict: bool,
        wall: Callable[[], float] = time.time,
        free: Callable[[Path], int] | None = None,
    ) -> None:
        self._inventory = inventory
        self._marks = marks
        self._floor = floor
        self._evict = evict
        self._wall = wall
        self._free = free or free_bytes

    def make_room(self, folder: Path, size: int, *, keep: frozenset[str], full: bool = False) -> bool:
        """Make room for `size` bytes in `folder` and the floor; False when there can't be enough.

        Args:
            folder: Where the file will be.
            size: Bytes still to come.
            keep: Keys that must not go, whatever else is in use.
            full: The volume has just refused to take more: don't ask it how much is free (a quota may not show).
        """
        need = size + self._floor - (0 if full else self._free(folder))
        if need <= 0:
            return True
        device = _device(folder)
        need -= self._remove_old_partials(device) + self._remove_corrupt(device)
        if need <= 0:
            return True
        if not self._evict:
            return False
        lately = self._marks.lately()
        candidates = self._candidates(folder, keep)
        plan = plan_eviction([each for each in candidates if each.key not in lately], need)
        if plan is None:
            plan = plan_eviction(candidates, need)
        if plan is None:
            return False
        for candidate in plan:
            self.remove(candidate.key)
            log.info("removed %s (%d bytes) to make room", candidate.key, candidate.size)
        return True

    def remove(self, key: str) -> None:
        """Remove a model's file and entry. Raises OSError."""
        entry = self._inventory.entries().get(key)
        kind, _, file = key.partition("/")
        path = self._inventory.volume.path(entry.kind if entry else kind, file)  # type: ignore[arg-type]  # keys begin with kinds
        path.unlink(missing_ok=True)
        self._inventory.forget(key)

    def _candidates(self, folder: Path, keep: frozenset[str]) -> list[Candidate]:
        """Return fetched models on the same file system that nobody pins, uses or lists in a running job."""
        try:
            in_use = keep | self._marks.held() | self._marks.others()
        except OSError as error:
            log.warning("nothing is removed: what other workers use can't be read (%s)", error.strerror)
            return []
        device = _device(folder)
        found = []
        for entry in self._inventory.entries().values():
            if not evictable(entry) or entry.key in in_use:
                continue
            file = self._inventory.volume.look(entry.kind, entry.file)
            if file is None or file.linked or _device(file.path.parent) != device:
                continue
            now = as_measured(entry, file.size, file.modified_ns)
            if now is None or now.sha256 != entry.sha256:
                continue  # people have put another file in its place
            found.append(Candidate(entry.key, file.size, self._inventory.last_used(entry)))
        return found

    def _remove_old_partials(self, device: int) -> int:
        """Remove partial files that nobody has touched for a day; return the bytes that became free on `device`."""
        freed = 0
        for folder in {self._inventory.volume.incoming(kind) for kind in self._inventory.volume.folders}:
            if not folder.is_dir() or _device(folder) != device:
                continue
            for path in on_their_way(folder):
                with contextlib.suppress(OSError):
                    facts = path.stat()
                    if self._wall() - facts.st_mtime > STALE_PARTIAL_S:
                        path.unlink()
                        freed += facts.st_blocks * 512
        return freed

    def _remove_corrupt(self, device: int) -> int:
        """Remove what was fetched and proved corrupt; return the bytes that became free on `device`."""
        freed = 0
        for folder in {self._inventory.volume.quarantine(kind) for kind in self._inventory.volume.folders}:
            if not folder.is_dir() or _device(folder) != device:
                continue
            for path in folder.glob(f"*{FETCHED}"):
                with contextlib.suppress(OSError):
                    blocks = path.lstat().st_blocks
                    path.unlink()
                    freed += blocks * 512
        return freed


def on_their_way(folder: Path) -> list[Path]:
    """Return the files in a folder of what is on its way, those of the hub's own library too; none where it is gone."""
    return [Path(below, name) for below, _, names in os.walk(folder) for name in names]


def free_bytes(folder: Path) -> int:
    """Return the bytes that the file system of `folder` says are free for us."""
    facts = os.statvfs(_existing(folder))
    return facts.f_bavail * facts.f_frsize


def evictable(entry: Entry) -> bool:
    """Return whether an entry may ever be removed without being asked: it can be fetched again, and nobody needs it.

    Files that the WebUI has listed when it started are needed, used or not.
    """
    return entry.source is not None and not entry.pinned and entry.kind not in LISTED_AT_START


def _device(folder: Path) -> int:
    return _existing(folder).stat().st_dev


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
