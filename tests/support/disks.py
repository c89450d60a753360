"""Small file systems of their own, for tests of full disks."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def small_disk(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs below `folder` with the mount options `options`; the test is skipped where only root may mount."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("may not mount here")  # a container without CAP_SYS_ADMIN: no small file system can be had
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
