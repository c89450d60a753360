"""Availability of the model folders: a volume can vanish under a worker, and a mount point then is empty.

A name that is not found on a volume that is gone is no mistake of whoever sent it.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from worker.errors import VolumeUnavailable
from worker.models.format.filenames import MODEL_ENDINGS

if TYPE_CHECKING:
    from pathlib import Path

    from worker.models.volume.layout import Volume
    from worker.settings import ModelKind

SPACE_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Errors of a file system without room for us."""
_BROKEN = frozenset(
    {
        errno.EIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ENODEV,
        errno.ENXIO,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EREMOTEIO,
        errno.ESHUTDOWN,
    }
)
"""Errors of calls on a file system whose disk, server or mount is gone."""


def is_broken(error: OSError) -> bool:
    """Return whether an error says that the file system itself is gone, not a file of it."""
    return error.errno in _BROKEN


class Availability:
    """The availability of one volume: its contents when it was last seen, and whether it is still there.

    Args:
        volume: Where the folders are.
    """

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._devices: dict[Path, int] = {}

    def note(self) -> None:
        """Remember which folders there are now."""
        self._seen(self._volume.root)
        for kind in self._volume.folders:
            self.note_kind(kind)

    def note_kind(self, kind: ModelKind) -> None:
        """Remember the folder of `kind`, if it is there and was not remembered yet."""
        self._seen(self._volume.root)
        self._seen(self._volume.folders[kind])

    def lost(self, kind: ModelKind) -> str | None:
        """Return what is wrong with the folder of `kind`, None when nothing is or it never was there."""
        folder = self._volume.folders[kind]
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries]
            device = folder.stat().st_dev
        except FileNotFoundError:
            return "it is gone" if folder in self._devices else self.root_lost()
        except OSError as error:
            return error.strerror or type(error).__name__
        if device == self._devices.get(folder, device) or any(name.lower().endswith(MODEL_ENDINGS) for name in names):
            return None
        return "another, empty file system is in its place"

    def root_lost(self) -> str | None:
        """Return what is wrong with the volume's root, None when nothing is or it never was there."""
        root = self._volume.root
        if root not in self._devices:
            return None
        try:
            device = root.stat().st_dev
        except OSError as error:
            return error.strerror or type(error).__name__
        return None if device == self._devices[root] else "another file system is in its place"

    def require(self, kind: ModelKind, *, file: str | None = None, path: str = "") -> None:
        """Make sure that what is not found is not there, rather than out of reach.

        Args:
            kind: Whose folder.
            file: Of that folder, where it is about one that the folder names.
            path: The field in the job, for the error.

        Raises:
            VolumeUnavailable: nobody can tell.
        """
        why = self.lost(kind)
        if why is None and file is not None:
            try:
                self._volume.path(kind, file).stat()
            except OSError as error:
                why = error.strerror if is_broken(error) else None
        if why is not None:
            raise self.unavailable(kind, why, path=path)

    def unavailable(self, kind: ModelKind, why: str, *, path: str = "") -> VolumeUnavailable:
        """Return the error for a folder of models that can't be reached."""
        at = f"{path}: " if path else ""
        return VolumeUnavailable(
            f"{at}the {kind} folder of the volume can't be read: {why}",
            hint="Send it again: a worker with its volume can run it.",
            details={**({"path": path} if path else {}), "kind": kind},
        )

    def _seen(self, folder: Path) -> None:
        if folder in self._devices:
            return
        try:
            self._devices[folder] = folder.stat().st_dev
        except OSError:
            return
