"""Integrity of model files: checking them, measuring their SHA-256, and the quarantine of corrupt ones."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from worker.errors import VolumeUnavailable
from worker.models.format.detect import detect, is_usable_as, with_article
from worker.models.format.filenames import short_hash
from worker.models.format.safetensors import LENGTH_BYTES, SAFETENSORS, BrokenHeader, check_pickle_start, read_header
from worker.models.volume.availability import is_broken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from worker.models.volume.inventory import Inventory
    from worker.models.volume.layout import ModelFile
    from worker.models.volume.model import LocalModel
    from worker.settings import ModelKind

_BLOCK = 4 * 1024 * 1024
_SEARCH_WAIT_S = 5.0
"""For another search to end; it may take minutes, in which no more threads of jobs may wait."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex; reads all of it."""
    digest = hashlib.sha256()
    buffer = bytearray(_BLOCK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(view[:count])
    return digest.hexdigest()


def damage_of(path: Path) -> str | None:
    """Return what the beginning of a model file shows to be wrong, None when nothing; formats are told by the ending.

    Raises OSError.
    """
    try:
        if path.suffix.lower() == SAFETENSORS:
            read_header(path)
        else:
            with path.open("rb") as file:
                check_pickle_start(file.read(LENGTH_BYTES))
    except BrokenHeader as error:
        return str(error)
    return None


def misfit(path: Path, kind: ModelKind) -> str | None:
    """Return what a sound file is where its folder is for another kind, None otherwise. Raises OSError."""
    found = detect(read_header(path)).kind if path.suffix.lower() == SAFETENSORS else None
    return None if is_usable_as(found, kind) else f"it is {with_article(found)}, not {with_article(kind)}"


def measure(inventory: Inventory, model: LocalModel | ModelFile) -> str:
    """Measure a file that nobody has measured as it is now, and write the result down, so that it is done once.

    One that was replaced by another of the same size does not come from where the old one came from.
    """
    _, _, file = model.key.partition("/")
    before = inventory.volume.look(model.kind, file)
    digest = sha256_of(model.path)
    seen = inventory.volume.look(model.kind, file)
    if seen is not None and seen == before and seen.size == model.size:
        entry = replace(inventory.entry(seen), sha256=digest, changed=seen.modified_ns)
        written = inventory.written_hash(model.key)
        inventory.record(entry if written in {None, digest} else replace(entry, source=None, also=(), etag=None))
    return digest


class HashSearch:
    """Search for a file by its hash among those whose hashes nobody knows. Each is read once: its hash is written down.

    Args:
        inventory: Of the volume.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._reading = threading.Lock()

    def find(self, digits: str, kind: ModelKind) -> bool:
        """Return whether a file of `kind` is found to have a hash that begins with `digits`. Reads whole files.

        Raises:
            VolumeUnavailable: another search goes on; when it is over, the hash is known or there is no such file.
        """
        if not self._reading.acquire(timeout=_SEARCH_WAIT_S):
            raise VolumeUnavailable(
                f"the files of the volume are being read for another hash than {digits}",
                hint="Name the model by its file, or try again: each file is read once.",
            )
        try:
            unread = [file for file in self._inventory.volume.files(kind) if self._hash_of(file) is None]
            hashes = (measure(self._inventory, file) for file in sorted(unread, key=lambda file: file.size))
            return any(found.startswith(digits) for found in hashes)
        finally:
            self._reading.release()

    def _hash_of(self, file: ModelFile) -> str | None:
        return self._inventory.entry(file).sha256


def complaint(path: Path, *, sha256: str | None) -> str | None:
    """Return what is wrong with a file: its header, or its hash where one is given; None when nothing is."""
    damage = damage_of(path)
    if damage is not None:
        return damage
    if sha256 is not None:
        measured = sha256_of(path)
        if measured != sha256:
            return f"its SHA-256 is {measured}, it should be {sha256}"
    return None


FETCHED, OWN = ".corrupt", ".set-aside"
"""Suffixes of quarantined files that can be fetched again, and of those that people put on the volume."""
_LONGEST = 180


class Quarantine:
    """The quarantine of one volume; emptied by `worker models gc`, of what was fetched also to make room."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def put(self, model: LocalModel, reason: str) -> Path | None:
        """Set a corrupt file aside; None when it is not there any more. Raises OSError: the volume can't be written."""
        return self.put_file(model.kind, model.key.partition("/")[2], reason)

    def put_corrupt(self, models: Iterable[LocalModel]) -> list[LocalModel]:
        """Set aside those of `models` that are corrupt and can be fetched again; return them. Reads whole files.

        For when the WebUI could not load a model. Raises OSError, VolumeUnavailable.
        """
        corrupt = []
        for model in models:
            try:
                wrong = self._complaint(model) if model.source is not None else None
            except OSError as error:
                if is_broken(error) or self._inventory.availability.lost(model.kind) is not None:
                    raise self._inventory.availability.unavailable(model.kind, error.strerror or "unreadable") from None
                raise
            if wrong is not None and self.put(model, wrong) is not None:
                corrupt.append(model)
        return corrupt

    def _complaint(self, model: LocalModel) -> str | None:
        return complaint(model.path, sha256=self._inventory.written_hash(model.key))

    def put_file(self, kind: ModelKind, file: str, reason: str) -> Path | None:
        """Like `put`, of the file of that name in the folder of `kind`."""
        volume = self._inventory.volume
        folder = volume.quarantine(kind)
        folder.mkdir(parents=True, exist_ok=True)
        path = volume.path(kind, file)
        entry = self._inventory.entries().get(f"{kind}/{file}")
        name = path.name if len(os.fsencode(path.name)) <= _LONGEST else f"{short_hash(path.name)}{path.suffix}"
        ending = FETCHED if entry is not None and entry.source is not None else OWN
        target = folder / f"{time.time_ns()}-{name}{ending}"
        try:
            path.rename(target)
        except FileNotFoundError:
            return None
        with contextlib.suppress(OSError):  # a full disk
            target.with_name(f"{target.name}.txt").write_text(f"{reason[:1000]}\n")
        if entry is None or not entry.pinned:  # the pin is for what comes in its place
            self._inventory.forget(f"{kind}/{file}")
        return target


_FRONT_BLOCK = 1024 * 1024


class FrontHash:
    """The digest of a file's beginning.

    Args:
        check: Called as ``check(fd, front, size)`` until it returns True; raises to refuse the file.
    """

    def __init__(self, check: Callable[[int, int, int | None], bool]) -> None:
        self._check = check
        self._checked = False
        self._digest = hashlib.sha256()
        self._view = memoryview(bytearray(_FRONT_BLOCK))
        self.done = 0
        """Bytes hashed."""

    def reset(self) -> None:
        """Begin again."""
        self._digest, self._checked, self.done = hashlib.sha256(), False, 0

    def advance(self, fd: int, front: int, size: int | None) -> None:
        """Hash one block more, at most up to `front`; look at the beginning as soon as there is enough of it."""
        if not self._checked and front > 0:
            self._checked = self._check(fd, front, size)
        if self.done < front:
            count = os.preadv(fd, [self._view[: front - self.done]], self.done)
            self._digest.update(self._view[:count])
            self.done += count

    def hexdigest(self) -> str:
        """Return the digest of the first `done` bytes."""
        return self._digest.hexdigest()
