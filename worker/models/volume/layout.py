"""The model folders: which files are there; the folder itself is the truth.

Besides the models each kind's folder holds ``.incoming`` (files on their way, same file system, so that a rename
finishes them) and ``.quarantine`` (files that proved corrupt); the root holds ``.store`` (leases, marks of use, the
registry's lock).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from worker.models.format.filenames import MODEL_ENDINGS
from worker.settings import ModelKind, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INCOMING = ".incoming"
QUARANTINE = ".quarantine"
STORE = ".store"
KINDS: tuple[ModelKind, ...] = get_args(ModelKind)
_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file as the folder shows it.

    Attributes:
        file: Path below the kind's folder, with ``/``.
        size: Bytes.
        modified_ns: Nanoseconds since the epoch, by the file system's clock.
        linked: It is a symbolic link: removing it frees nothing.
        changed: When its content or anything about it changed last, by the same clock, in nanoseconds: programs that
            copy files set `modified` back.
    """

    kind: ModelKind
    file: str
    path: Path
    size: int
    modified_ns: int
    linked: bool
    changed: int = 0

    @property
    def modified(self) -> float:
        """Seconds since the epoch."""
        return self.modified_ns / 1e9

    @property
    def key(self) -> str:
        """``kind/file``: its name in the registry."""
        return f"{self.kind}/{self.file}"


@dataclass(frozen=True, slots=True)
class Volume:
    """Where the models of each kind are."""

    root: Path
    folders: Mapping[ModelKind, Path]

    @classmethod
    def of(cls, settings: Settings) -> Volume:
        """Return the volume that the settings name; nothing is created."""
        return cls(settings.models_root, {kind: settings.folder(kind) for kind in KINDS})

    def path(self, kind: ModelKind, file: str) -> Path:
        """Return the place of a file below its kind's folder."""
        return self.folders[kind] / file

    def incoming(self, kind: ModelKind) -> Path:
        """Return the folder for files on their way."""
        return self.folders[kind] / INCOMING

    def quarantine(self, kind: ModelKind) -> Path:
        """Return the folder for files that proved corrupt."""
        return self.folders[kind] / QUARANTINE

    @property
    def store(self) -> Path:
        """The folder for leases, marks and locks."""
        return self.root / STORE

    def look(self, kind: ModelKind, file: str) -> ModelFile | None:
        """Return the file if it is there, a regular file (or a link to one) and not empty."""
        path = self.path(kind, file)
        try:
            facts = path.stat()
        except (OSError, ValueError):
            return None
        if not path.is_file() or facts.st_size == 0:
            return None
        link = path.is_symlink()
        return ModelFile(kind, file, path, facts.st_size, facts.st_mtime_ns, link, facts.st_ctime_ns)

    def names(self, kind: ModelKind) -> list[str]:
        """Return the model files of a kind as paths below its folder, sub-folders included, hidden ones not; sorted.

        Reads folders only: nothing is known about the files themselves but their names.
        """
        return sorted(_walk(self.folders[kind], "", _MAX_DEPTH))

    def files(self, kind: ModelKind) -> Iterator[ModelFile]:
        """Yield every model file of a kind with its size and time, sorted by name."""
        for file in self.names(kind):
            seen = self.look(kind, file)
            if seen is not None:
                yield seen


def _walk(folder: Path, below: str, depth: int) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        return
    for entry in found:
        if not _is_text(entry.name):
            continue  # no job can name it, and no JSON tell of it
        file = f"{below}{entry.name}"
        if entry.name.lower().endswith(MODEL_ENDINGS):
            yield file
        elif depth > 1 and _is_folder(entry):
            yield from _walk(Path(entry.path), f"{file}/", depth - 1)


def _is_text(name: str) -> bool:
    """Whether a file's name is Unicode: one in another encoding comes with lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
