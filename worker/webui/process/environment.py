"""The machine a WebUI is started on: its Python, memory, ports and file systems."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import BootFailed
from worker.webui.process.command_line import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.settings import Settings

NETWORK_FILESYSTEMS = ("nfs", "nfs4", "cifs", "ceph", "lustre", "9p", "virtiofs", "fuse")
GIB = 1024**3
CHECKPOINT_GIB = 7
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise BootFailed in place of OSError."""
    try:
        yield
    except OSError as error:
        raise BootFailed(
            f"can't write {error.filename or 'what the WebUI needs'}: {error.strerror}",
            hint="Give the container more disk."
            if error.errno in FULL
            else "The folder for temporary files has to be writable.",
        ) from error


def find_python(settings: Settings, folder: Path) -> Path:
    """Return the Python that runs the WebUI in `folder`.

    Raises:
        BootFailed: there is none.
    """
    if settings.webui_python is not None:
        given = shutil.which(settings.webui_python)
        if given is None:
            raise BootFailed(f"WEBUI_PYTHON={str(settings.webui_python)!r} is no program that can be run")
        return Path(given)
    own = folder / "venv" / "bin" / "python"
    if own.is_file():
        return own
    raise BootFailed(
        f"there is no {own}, and WEBUI_PYTHON is not set",
        hint="Set WEBUI_PYTHON to the Python of the environment that has the WebUI's packages.",
    )


def use_xformers(settings: Settings, python: Path, *, on_cpu: bool) -> bool:
    """Return whether the WebUI is to be started with xformers: as set, else where it is installed and of use."""
    if settings.webui_xformers != "auto" or on_cpu:  # xformers computes on GPUs alone
        return settings.webui_xformers == "on"
    seen = _among_packages("xformers", python)
    if seen is not None:
        return seen
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('xformers') is None)"
    done = subprocess.run([str(python), "-S", "-c", "import site; site.main(); " + code], check=False, timeout=30)
    return done.returncode == 0


def _among_packages(name: str, python: Path) -> bool | None:
    """Return whether the environment of `python` has a package, None where only that Python can tell, in 30 ms.

    Packages installed to be edited leave a file of their name there as well.
    """
    prefix = python.parent.parent
    try:
        words = (prefix / "pyvenv.cfg").read_text(encoding="utf-8").lower().replace(" ", "")
        folders = list((prefix / "lib").glob("python3.*/site-packages"))
        if "include-system-site-packages=true" in words or len(folders) != 1:
            return None
        return any(name in entry.name.lower() for entry in os.scandir(folders[0]))
    except OSError:
        return None


def memory_bytes() -> int:
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
