"""The view of the checkpoint folder that the WebUI is given when some checkpoints have copies elsewhere.

The WebUI knows a checkpoint by its path below the folder that it is given, so a copy in another place would be a second
model with the same title. In the view every file of the true folder, models and what lies beside them, is a link of the
same relative path: to the file itself, or to its copy. So titles stay what they are without copies.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from worker.models.format.filenames import MODEL_ENDINGS, short_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAX_DEPTH = 8


class CheckpointView:
    """Links in one folder to the files of another.

    Args:
        folder: The true folder.
        place: Where the links are; made.

    Raises:
        OSError: `place` can't be made.
    """

    def __init__(self, folder: Path, place: Path) -> None:
        self.folder = folder.absolute()
        self.place = place.absolute()
        self.place.mkdir(parents=True, exist_ok=True)

    def shown(self, path: Path) -> Path:
        """Return where the view has a file of the true folder."""
        return self.place / path.absolute().relative_to(self.folder)

    def true(self, filename: str) -> str:
        """Return the true place of a file that the WebUI lists; other paths come back as they are."""
        path = Path(filename)
        return str(self.folder / path.relative_to(self.place)) if path.is_relative_to(self.place) else filename

    def files(self) -> dict[str, Path]:
        """Return the true folder's files by path below it. Raises OSError."""
        return dict(_files(self.folder))

    def update(self, files: Mapping[str, Path], copies: Mapping[str, Path]) -> None:
        """Have a link for each of `files`, to its copy where it has one, and no others. Raises OSError."""
        for file, link in list(_files(self.place)):
            if file not in files:
                link.unlink()
        for file, path in files.items():
            self.link(file, copies.get(file, path))

    def link(self, file: str, target: Path) -> None:
        """Let a link lead to `target`; at no moment is there none. Raises OSError."""
        link = self.place / file
        with contextlib.suppress(OSError):
            if link.readlink() == target:
                return
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = link.with_name(f".{short_hash(link.name)}.new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)


def _files(folder: Path, below: str = "", depth: int = _MAX_DEPTH) -> Iterator[tuple[str, Path]]:
    """Yield every file that is not hidden, as path below the folder and path: models and what lies beside them.

    Raises OSError.
    """
    with os.scandir(folder) as found:
        entries = sorted((each for each in found if not each.name.startswith(".")), key=lambda each: each.name)
    for entry in entries:
        file = f"{below}{entry.name}"
        is_folder = depth > 1 and not entry.name.lower().endswith(MODEL_ENDINGS) and _is_folder(entry)
        if is_folder:
            yield from _files(Path(entry.path), f"{file}/", depth - 1)
        else:
            yield file, Path(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
