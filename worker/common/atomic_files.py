"""Atomic file writes: readers see the old content or the new, never a part."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TEMPORARY_ENDING = ".tmp"


def temporary_pattern(name: str) -> str:
    """Return the glob pattern of the temporary files that `write_atomically` makes for a file of this name."""
    return f".{name}.*{TEMPORARY_ENDING}"


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write `data` to a temporary file beside `path` and rename it to `path`.

    Args:
        path: The file; its folder exists.
        data: Its whole new content.
        durable: Flush the data to the disk before the rename, so that it also survives a crash of the machine.

    Raises:
        OSError: it can't be written; the old content stays and no temporary file is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY_ENDING}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
