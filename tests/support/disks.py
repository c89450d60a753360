"""Small file systems of their own, for tests of full disks."""

from __future__ import annotations

import contextlib
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def mounted(disk: Path, options: str) -> Iterator[bool]:
    """A tmpfs at `disk` with the mount options `options`; a plain folder, and False, where only root may mount."""
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    done = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "-l", str(disk)], check=True)


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs below `folder` with the mount options `options`; the test is skipped where only root may mount."""
    with mounted(folder / "disk", options) as done:
        if not done:
            pytest.skip("may not mount here")  # a container without CAP_SYS_ADMIN: no small file system can be had
        yield folder / "disk"


def fill(file: Path) -> None:
    """Write `file` until its disk is full."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as open_file:
        while open_file.write(b"x" * 4096):
            pass
