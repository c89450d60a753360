"""The model folders: which files are there; the folder itself is the truth.

Besides the models each kind's folder holds ``.incoming`` (files on their way, same file system, so that a rename
finishes them) and ``.quarantine`` (files that proved corrupt); the root holds ``.store`` (leases, marks of use, the
registry's lock).
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from worker.models.format.filenames import MODEL_ENDINGS
from worker.settings import A1111_FOLDERS, ModelKind, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

INCOMING = ".incoming"
QUARANTINE = ".quarantine"
STORE = ".store"
KINDS: tuple[ModelKind, ...] = get_args(ModelKind)
_MAX_DEPTH = 4
_SETTLED_NS = 5 * 10**9
"""A folder that changed within this time may change again without showing it: clocks are coarse, and differ."""


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
    """The folders of each kind of model."""

    root: Path
    folders: Mapping[ModelKind, Path]
    _listings: dict[Path, _Listing] = field(init=False, repr=False, compare=False, default_factory=dict)

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
        if not stat.S_ISREG(facts.st_mode) or facts.st_size == 0:
            return None
        link = path.is_symlink()
        return ModelFile(kind, file, path, facts.st_size, facts.st_mtime_ns, link, facts.st_ctime_ns)

    def names(self, kind: ModelKind) -> list[str]:
        """Return the model files of a kind as paths below its folder, sub-folders included, hidden ones not; sorted.

        Reads folders only: nothing is known about the files themselves but their names. A listing is remembered while
        none of its folders has changed.
        """
        return list(self._listing(kind).names)

    def listing_stamp(self, kind: ModelKind) -> object | None:
        """Return an object that is another one as soon as the names of a kind may be; None while that can't be told."""
        listing = self._listing(kind)
        return listing if listing.changed is not None else None

    def _listing(self, kind: ModelKind) -> _Listing:
        root = self.folders[kind]
        known = self._listings.get(root)
        if known is None or not known.is_current():
            known = self._listings[root] = _list(root)
        return known

    def elsewhere(self, kind: ModelKind) -> Iterator[Path]:
        """Yield the model files that are not in the folder of `kind`: of other kinds, in other folders, in the root."""
        roots = {path.absolute() for other, path in self.folders.items() if other != kind}
        own = self.folders[kind].absolute()
        try:
            with os.scandir(self.root) as entries:
                for entry in entries:
                    if entry.name.startswith(".") or not _is_text(entry.name):
                        continue
                    if entry.name.lower().endswith(MODEL_ENDINGS):
                        yield Path(entry.path)
                    elif _is_folder(entry):
                        roots.add(Path(entry.path).absolute())
        except OSError:
            pass  # the kinds' own folders may still be there
        for folder in sorted(roots - {own}):
            yield from (folder / name for name in _walk(folder, "", _MAX_DEPTH, {}))

    def may_stray_to(self, path: Path, kind: ModelKind) -> bool:
        """Return whether people put models of `kind` there by mistake: into the root, or where others are."""
        named = [self.root / name for name in A1111_FOLDERS.get(kind, ())]
        below = [folder.absolute() for folder in (*named, *self.folders.values())]
        place = path.absolute()
        return place.parent == self.root.absolute() or any(place.is_relative_to(folder) for folder in below)

    def files(self, kind: ModelKind) -> Iterator[ModelFile]:
        """Yield every model file of a kind with its size and time, sorted by name."""
        for file in self.names(kind):
            seen = self.look(kind, file)
            if seen is not None:
                yield seen


@dataclass(frozen=True, slots=True, eq=False)
class _Listing:
    """The names in a folder and its sub-folders, and when each folder had changed last; None: it can't be relied on."""

    names: tuple[str, ...]
    changed: Mapping[str, int] | None

    def is_current(self) -> bool:
        """Return whether no folder has changed since."""
        try:
            return self.changed is not None and all(
                os.stat(folder).st_mtime_ns == then  # noqa: PTH116 - the method of paths takes three times as long
                for folder, then in self.changed.items()
            )
        except OSError:
            return False


def file_stamp(path: Path) -> tuple[int, int, int, int] | None:
    """Return a value that changes with a file; None when it is not there."""
    try:
        facts = os.stat(path)  # noqa: PTH116 - the method of paths takes three times as long
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _list(root: Path) -> _Listing:
    changed: dict[str, int] = {}
    names = tuple(sorted(_walk(root, "", _MAX_DEPTH, changed)))
    clock = time.time_ns()
    settled = bool(changed) and all(0 < then < clock - _SETTLED_NS for then in changed.values())
    return _Listing(names, changed if settled else None)


def _walk(folder: Path, below: str, depth: int, changed: dict[str, int]) -> Iterator[str]:
    """Yield the model files below a folder; note in `changed` when each folder had changed before it was read."""
    try:
        changed[str(folder)] = folder.stat().st_mtime_ns
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError:
        changed[str(folder)] = 0
        return
    for entry in found:
        if not _is_text(entry.name):
            continue  # no job can name it, and no JSON tell of it
        file = f"{below}{entry.name}"
        if entry.name.lower().endswith(MODEL_ENDINGS):
            yield file
        elif depth > 1 and _is_folder(entry):
            yield from _walk(Path(entry.path), f"{file}/", depth - 1, changed)


def _is_text(name: str) -> bool:
    """Return whether a file's name is Unicode: one in another encoding comes with lone surrogates."""
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
