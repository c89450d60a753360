"""What this machine has: memory and how much may stay in it, free ports, and what kind of disk a folder lies on."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from worker.errors import BootFailed
from worker.webui.command import LOOPBACK

NETWORK_FILESYSTEMS = ("nfs", "nfs4", "cifs", "ceph", "lustre", "9p", "virtiofs", "fuse")
GIB = 1024**3
CHECKPOINT_GIB = 7


def memory() -> int:
    """Return the bytes of RAM that this container may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limit = Path(file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit.isdigit():
            return min(total, int(limit))
    return total


def checkpoints_in_memory(ram: int) -> int:
    """Return how many checkpoints may stay in a memory of `ram` bytes, the one on the GPU among them.

    The others wait in RAM (A1111's `sd_checkpoints_keep_in_cpu`), each about as large as its file: 7 GiB for SDXL. The
    WebUI itself takes about 6 GiB, and loading one more needs twice its size.
    """
    spare = ram // GIB - 6 - 2 * CHECKPOINT_GIB
    return 1 + max(0, min(3, spare // CHECKPOINT_GIB))


def loras_in_memory(ram: int) -> int:
    """Return how many LoRAs may stay in memory on a machine with `ram` bytes: one per 4 GiB beyond the first 8."""
    return max(0, min(16, (ram // GIB - 8) // 4))


def on_network(path: Path, mounts: str) -> bool:
    """Return whether `path` lies on a network file system.

    Args:
        path: Absolute.
        mounts: The text of ``/proc/mounts``.
    """
    best, found = -1, ""
    for line in mounts.splitlines():
        parts = line.split()
        if len(parts) < 3:  # noqa: PLR2004 - device, folder, type
            continue
        folder = parts[1].replace("\\040", " ")
        if path.is_relative_to(folder) and len(folder) > best:
            best, found = len(folder), parts[2]
    return found.split(".")[0] in NETWORK_FILESYSTEMS


def must_be_free(port: int) -> None:
    """Raise BootFailed where another process has the loopback's `port`."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise BootFailed(
                f"port {port} is taken by another process", hint="Set WEBUI_PORT to a free port."
            ) from error


def free_port() -> int:
    """Return a port of the loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
