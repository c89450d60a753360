"""Storage of the result cache: a folder of the volume, or the operator's store.

Entries are plain files, one zip each, replaced in one step. A database such as `diskcache`'s SQLite relies on locks and
shared memory that the network file systems under a RunPod volume do not give to several workers, and a bucket has
neither.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from worker.common.atomic_files import TEMPORARY_ENDING, write_atomically
from worker.common.clock import running
from worker.errors import SettingsInvalid
from worker.storage.keys import safe_prefix
from worker.storage.store_errors import StoreError
from worker.storage.target import from_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from worker.settings import Settings
    from worker.storage.object_store import Store
    from worker.storage.stores import StoreClients

ENDING = ".zip"
_LARGEST_ENTRY = 256 * 1024 * 1024
_STORE_S = 30.0


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """One result that is kept.

    Attributes:
        key: The digest of its request.
        size: Bytes.
        used: When it was used last, or, in a store, made: seconds since the epoch.
    """

    key: str
    size: int
    used: float


class CacheStorage(Protocol):
    """A place for entries. Every method blocks, and raises OSError or `StoreError`."""

    def read(self, key: str) -> bytes | None:
        """Return an entry, None where there is none."""

    def write(self, key: str, data: bytes) -> None:
        """Keep an entry."""

    def remove(self, key: str) -> None:
        """Remove an entry; removing what is not there is fine."""

    def entries(self) -> list[CacheEntry]:
        """Return every entry."""


class FolderStorage:
    """Entries in a folder of the volume, shared by its workers.

    Args:
        folder: Made with the first entry.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> bytes | None:
        """Return an entry, None where there is none; it counts as used."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return data

    def write(self, key: str, data: bytes) -> None:
        """Keep an entry."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data, durable=False)

    def remove(self, key: str) -> None:
        """Remove an entry; removing what is not there is fine."""
        self._path(key).unlink(missing_ok=True)

    def entries(self) -> list[CacheEntry]:
        """Return every entry, and remove what dead workers left unfinished."""
        found = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                facts = path.stat()
                if path.suffix == ENDING:
                    found.append(CacheEntry(path.stem, facts.st_size, facts.st_mtime))
                elif path.name.endswith(TEMPORARY_ENDING) and time.time() - facts.st_mtime > _STORE_S * 20:
                    path.unlink()
        return found

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}{ENDING}"


class BucketStorage:
    """Entries in the operator's store, below ``<prefix>/result-cache/``.

    Args:
        store: Returns the store's client; its library is imported with the first use.
        prefix: Of the operator's keys.
    """

    def __init__(self, store: Callable[[], Store], prefix: str) -> None:
        self._store = store
        self._below = "/".join(part for part in (safe_prefix(prefix), "result-cache") if part)

    def read(self, key: str) -> bytes | None:
        """Return an entry, None where there is none."""
        try:
            return self._store().get(self._key(key), deadline=running() + _STORE_S, most=_LARGEST_ENTRY)
        except StoreError as error:
            if error.failure.status == 404:  # noqa: PLR2004 - HTTP's own
                return None
            raise

    def write(self, key: str, data: bytes) -> None:
        """Keep an entry."""
        deadline = running() + _STORE_S
        self._store().put(
            self._key(key), data, content_type="application/zip", metadata={}, deadline=deadline, linked=False
        )

    def remove(self, key: str) -> None:
        """Remove an entry; removing what is not there is fine."""
        self._store().delete(self._key(key), deadline=running() + _STORE_S)

    def entries(self) -> list[CacheEntry]:
        """Return every entry."""
        listed = self._store().list(f"{self._below}/", deadline=running() + _STORE_S)
        return [
            CacheEntry(file.key.rpartition("/")[2].removesuffix(ENDING), file.size, file.modified)
            for file in listed
            if file.key.endswith(ENDING)
        ]

    def _key(self, key: str) -> str:
        return f"{self._below}/{key}{ENDING}"


def cache_storage(settings: Settings, clients: StoreClients) -> CacheStorage | None:
    """Return the storage that the settings ask for, None for none.

    Raises:
        SettingsInvalid: RESULT_CACHE is s3, and there is no store.
    """
    if settings.result_cache == "off":
        return None
    if settings.result_cache == "volume":
        return FolderStorage(settings.result_cache_root)
    target = from_settings(settings)
    if target is None:
        raise SettingsInvalid("RESULT_CACHE='s3' needs a store: set BUCKET_ENDPOINT_URL and its keys")
    return BucketStorage(lambda: clients.of(target), target.prefix)


def expired(entries: Iterable[CacheEntry], *, now: float, age_s: float, most_bytes: int) -> list[CacheEntry]:
    """Return the entries to be removed: those that are too old, and of the others those used longest ago. Pure."""
    gone = []
    left = most_bytes
    for entry in sorted(entries, key=lambda each: each.used, reverse=True):
        left -= entry.size
        if now - entry.used >= age_s or left < 0:
            gone.append(entry)
    return gone
