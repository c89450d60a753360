"""Slow storage: a limit on what a process and its children read from the disk, and files that leave the page cache."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW = Path("/sys/fs/cgroup/blkio"), Path("/sys/fs/cgroup")


def possible() -> bool:
    """Return whether this process may limit what it reads: root, and cgroups with a controller for block devices."""
    return os.geteuid() == 0 and (OLD.is_dir() or (NEW / "io.max").exists())


@contextmanager
def slow_reads(folder: Path, bytes_per_second: int) -> Iterator[None]:
    """Inside the block, this process and those it starts read at most so much a second from the disk of `folder`."""
    device = os.stat(folder).st_dev  # noqa: PTH116 - of one value
    numbers = f"{os.major(device)}:{os.minor(device)}"
    root = OLD if OLD.is_dir() else NEW
    group = root / f"bench-{os.getpid()}"
    group.mkdir()
    try:
        if root == OLD:
            (group / "blkio.throttle.read_bps_device").write_text(f"{numbers} {bytes_per_second}")
        else:
            (group / "io.max").write_text(f"{numbers} rbps={bytes_per_second}")
        (group / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        (root / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def forget(path: Path) -> None:
    """Have the kernel drop what it keeps of a file in memory."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
        os.posix_fadvise(number, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(number)
