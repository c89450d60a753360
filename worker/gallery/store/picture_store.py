"""The interface of a place for pictures, which a folder and a bucket have."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".avif": "image/avif",
}
"""Endings that count as pictures. SVG is none of them: it can carry scripts."""

SIDECAR = "curation.jsonl"
TRASH = ".trash"


class PictureGone(Exception):
    """The picture is not there any more, can't be read, or its path leads out of the folder."""


class StoreUnavailable(Exception):
    """The folder or bucket can't be read or written; the message says why."""


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture as a listing shows it.

    Attributes:
        name: Path below the folder or prefix, with `/` between its parts.
        size: In bytes.
        modified: Seconds since the epoch.
        etag: The store's own mark of the content; empty in a folder.
    """

    name: str
    size: int
    modified: float
    etag: str = ""

    @property
    def id(self) -> str:
        """The name's digest, which stands for it in addresses."""
        return hashlib.blake2b(self.name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()

    @property
    def revision(self) -> str:
        """A short text that changes with the content."""
        told = f"{self.size}-{self.modified}-{self.etag}"
        return hashlib.blake2b(told.encode(), digest_size=6).hexdigest()

    @property
    def media_type(self) -> str:
        """Its media type by its ending."""
        return MEDIA_TYPES[PurePosixPath(self.name).suffix.lower()]


def is_picture_name(name: str) -> bool:
    """Return whether a file of this name is shown: a picture's ending and no hidden part."""
    path = PurePosixPath(name)
    return path.suffix.lower() in MEDIA_TYPES and not any(part.startswith(".") for part in path.parts)


def facts_names(name: str) -> list[str]:
    """Return where the JSON about a picture may be: beside it, or in `metadata/` beside its folder."""
    path = PurePosixPath(name)
    return [str(path.with_suffix(".json")), str(path.parent.parent / "metadata" / f"{path.stem}.json")]


class PictureStore(Protocol):
    """Pictures in one place, and the journal of decisions beside them. Thread-safe."""

    title: str
    """The place, for people."""

    def files(self) -> Iterator[PictureFile]:
        """Yield every picture, folder by folder. Raises StoreUnavailable."""

    def read(self, name: str, *, most: int | None = None) -> bytes:
        """Return the bytes of a file, at most the first `most`. Raises PictureGone."""

    def fingerprint(self, file: PictureFile) -> str:
        """Return a text that a copy of the file under another name has too. Raises PictureGone."""

    def key(self, name: str) -> str | None:
        """Return the key by which a worker that has the same store knows the file; None where it has none."""

    def add(self, name: str, data: bytes) -> str:
        """Write a new file; return its name, numbered where that one was taken. Raises StoreUnavailable."""

    def move_to_trash(self, names: Sequence[str]) -> list[str]:
        """Move pictures and the JSON beside them into the trash; return the pictures that were moved."""

    def restore_trash(self) -> list[str]:
        """Move everything in the trash back to where it was, except onto new files; return the names of pictures."""

    def journal(self) -> str:
        """Return the decisions written so far, one JSON object a line. Raises StoreUnavailable."""

    def append_journal(self, lines: Sequence[str]) -> None:
        """Add decisions so that they survive the end of this process. Raises StoreUnavailable."""
