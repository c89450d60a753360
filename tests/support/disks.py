"""Small file systems of their own, for tests of full disks."""

from __future__ import annotations

import contextlib
import ctypes
import os
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
    disk.mkdir(exist_ok=True)
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


@contextmanager
def dead_mount(folder: Path) -> Iterator[None]:
    """A mount over `folder` whose server is gone: every call fails with ENOTCONN; skipped where only root may mount."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        device = os.open("/dev/fuse", os.O_RDWR)
    except OSError:
        pytest.skip("no FUSE here")  # a container without the device: no server can be lost
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    failed = libc.mount(b"none", bytes(folder), b"fuse", 0, options)
    os.close(device)
    if failed:
        pytest.skip("may not mount here")  # a container without CAP_SYS_ADMIN
    try:
        yield
    finally:
        libc.umount2(bytes(folder), 2)  # MNT_DETACH


def fill(file: Path) -> None:
    """Write `file` until its disk is full."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as open_file:
        while open_file.write(b"x" * 4096):
            pass
