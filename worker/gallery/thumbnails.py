"""Thumbnails, made when they are asked for and kept in the user's cache folder."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from worker.common.atomic_files import write_atomically
from worker.gallery.picture_reading import UnreadablePicture, make_thumbnail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.gallery.store.picture_store import PictureFile, PictureStore

MOST_BYTES = 1024**3


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return where thumbnails are kept."""
    base = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".cache")
    return Path(base) / "a1111-worker" / "thumbnails"


class Thumbnails:
    """The thumbnails of one store. Thread-safe.

    Args:
        store: The pictures.
        folder: The cache; where it can't be written, thumbnails are made each time.
    """

    def __init__(self, store: PictureStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._unreadable: dict[str, str] = {}

    def cached(self, file: PictureFile) -> bytes | None:
        """Return the thumbnail of a picture if it was made before."""
        try:
            return self._path(file).read_bytes()
        except OSError:
            return None

    def get(self, file: PictureFile) -> bytes:
        """Return the thumbnail of a picture as WebP.

        Raises:
            PictureGone: it is not there any more.
            UnreadablePicture: it can't be decoded.
        """
        if (known := self.cached(file)) is not None:
            return known
        path = self._path(file)
        if (why := self._unreadable.get(path.name)) is not None:
            raise UnreadablePicture(why)
        try:
            data = make_thumbnail(self._store.read(file.name))
        except UnreadablePicture as error:
            self._unreadable[path.name] = str(error)
            raise
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data, durable=False)
        return data

    def _path(self, file: PictureFile) -> Path:
        told = f"{self._store.title}\0{file.name}\0{file.revision}"
        digest = hashlib.blake2b(told.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        return self._folder / digest[:2] / f"{digest}.webp"

    def prune(self) -> None:
        """Remove the oldest thumbnails of all stores above `MOST_BYTES`."""
        found = []
        for path in self._folder.glob("*/*.webp"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        too_many = sum(size for _, size, _ in found) - MOST_BYTES
        for _, size, path in sorted(found, key=lambda one: one[0]):
            if too_many <= 0:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                too_many -= size
