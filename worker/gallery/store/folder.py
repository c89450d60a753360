"""Pictures in a folder of this machine."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from filelock import FileLock

from worker.common.atomic_files import write_atomically
from worker.gallery.decisions import compacted, read_journal
from worker.gallery.store.picture_store import (
    SIDECAR,
    TRASH,
    PictureFile,
    PictureGone,
    StoreUnavailable,
    is_picture_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MOST_LINES = 10_000
"""Of the journal, before it is written anew with one line a picture."""

_LOCK_S = 10.0


class Folder:
    """A folder and those below it; links that lead out of it are not followed.

    Args:
        root: The folder.

    Raises:
        StoreUnavailable: it is no folder, or can't be read.
    """

    def __init__(self, root: Path) -> None:
        try:
            self._root = root.resolve(strict=True)
            os.scandir(self._root).close()
        except OSError as error:
            raise StoreUnavailable(f"{root} can't be read: {error.strerror}") from error
        self.title = str(self._root)
        self._sidecar = self._root / SIDECAR
        self._compact_above = MOST_LINES
        self._lock = FileLock(self._root / f".{SIDECAR}.lock", timeout=_LOCK_S)

    def files(self) -> Iterator[PictureFile]:
        """Yield the pictures, depth first, each folder by name."""
        try:
            yield from self._listed(self._root, "")
        except OSError as error:
            raise StoreUnavailable(f"{self._root} can't be read: {error.strerror}") from error

    def _listed(self, folder: Path, prefix: str) -> Iterator[PictureFile]:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = f"{prefix}{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._listed(Path(entry.path), f"{name}/")
            elif is_picture_name(name) and (entry.is_file(follow_symlinks=False) or self._path(name) is not None):
                status = entry.stat()
                yield PictureFile(name, status.st_size, status.st_mtime)

    def read(self, name: str, *, most: int | None = None) -> bytes:
        """Return the bytes of a file below the folder."""
        path = self._path(name)
        if path is None:
            raise PictureGone(name)
        try:
            with path.open("rb") as file:
                return file.read(-1 if most is None else most)
        except OSError as error:
            raise PictureGone(name) from error

    def fingerprint(self, file: PictureFile) -> str:
        """Return the SHA-256 of the content."""
        return f"sha256:{hashlib.sha256(self.read(file.name)).hexdigest()}"

    def key(self, name: str) -> str | None:  # noqa: ARG002 - a bucket needs the name
        """Return None: no worker has this folder as its store."""
        return None

    def add(self, name: str, data: bytes) -> str:
        """Write a new file; return its name."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise StoreUnavailable(f"{name!r} leads out of the folder")
        try:
            target = self._root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(self._root):
                raise StoreUnavailable(f"{name!r} leads out of the folder")
            number = 2
            while target.exists():
                target = target.with_name(f"{path.stem}-{number}{path.suffix}")
                number += 1
            write_atomically(target, data)
        except OSError as error:
            raise StoreUnavailable(f"{name} can't be written: {error.strerror}") from error
        return target.relative_to(self._root).as_posix()

    def move_to_trash(self, names: Sequence[str]) -> list[str]:
        """Move pictures and the JSON beside them into `.trash/`, where they keep their paths."""
        moved = []
        for name in names:
            if self._move(self._root / name, self._root / TRASH / name):
                moved.append(name)
                facts = Path(name).with_suffix(".json")
                self._move(self._root / facts, self._root / TRASH / facts)
        return moved

    def restore_trash(self) -> list[str]:
        """Move everything in `.trash/` back, except onto new files; return the pictures' names."""
        trash = self._root / TRASH
        restored = []
        for path in sorted(trash.rglob("*")):
            name = path.relative_to(trash).as_posix()
            if path.is_file() and self._move(path, self._root / name) and is_picture_name(name):
                restored.append(name)
        return restored

    def _move(self, source: Path, target: Path) -> bool:
        if not source.parent.resolve().is_relative_to(self._root) or not source.is_file() or target.exists():
            return False
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(self._root):
                return False
            source.rename(target)
        except OSError as error:
            raise StoreUnavailable(f"{source.name} can't be moved: {error.strerror}") from error
        return True

    def journal(self) -> str:
        """Return the text of `curation.jsonl`, empty where there is none."""
        try:
            return self._sidecar.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise StoreUnavailable(f"{self._sidecar} can't be read: {error.strerror}") from error

    def append_journal(self, lines: Sequence[str]) -> None:
        """Append to `curation.jsonl`; above `MOST_LINES` it is written anew, shorter."""
        text = "".join(f"{line}\n" for line in lines)
        try:
            with self._lock:
                with self._sidecar.open("a+b") as file:
                    if file.tell() > 0:
                        file.seek(-1, os.SEEK_END)
                        text = text if file.read(1) == b"\n" else f"\n{text}"  # the half line of a killed process
                    file.write(text.encode())
                    file.flush()
                    os.fsync(file.fileno())
                self._compact()
        except (OSError, TimeoutError) as error:
            raise StoreUnavailable(f"{self._sidecar} can't be written: {error}") from error

    def _compact(self) -> None:
        text = self.journal()
        if text.count("\n") <= self._compact_above:
            return
        lines = compacted(read_journal(text))
        self._compact_above = max(MOST_LINES, 2 * len(lines))
        write_atomically(self._sidecar, "".join(f"{line}\n" for line in lines).encode())

    def _path(self, name: str) -> Path | None:
        """Return the real path of a regular file below the folder, None where `name` leads to no such file."""
        try:
            path = (self._root / name).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            return None
        return path if path.is_relative_to(self._root) and path.is_file() else None
