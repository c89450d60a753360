"""Facts about running processes: who listens on a port, what a process tree holds in memory, what the GPU holds."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_SHARE = 0.02
"""Share of one core that a process of Python with many threads may use while it only waits."""


def is_ours(port: int, group: int) -> bool | None:
    """Return whether a process of `group` listens on `port`; None where the system does not tell.

    Another program there may answer like a WebUI too. One that takes the port between the look at it and the WebUI's
    own start, or while the WebUI is restarted, would be waited for, found ready, and asked for the jobs' pictures.

    Args:
        port: Somebody listens there, on whatever address.
        group: A process group.
    """
    try:
        listening = [
            each
            for each in psutil.net_connections("tcp")
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port
        ]
    except (psutil.Error, OSError):
        return None
    owners = {each.pid for each in listening}
    if any(pid is not None and _group(pid) == group for pid in owners):
        return True
    return None if None in owners or not owners else False


def resident_bytes(pid: int) -> int:
    """Return the resident bytes of `pid` and its descendants, 0 where it is gone."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    return sum(_resident(process) for process in family)


def gpu_bytes() -> int | None:
    """Return the bytes in use on the first GPU, None where there is none or its library is missing."""
    try:
        import pynvml  # noqa: PLC0415 - only where there is a GPU
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used)
    except pynvml.NVMLError:
        return None


class WorkMeter:
    """A process at work, as the system counts it: one that hangs uses no processor and waits for no disk.

    Args:
        pid: Of the process.
        clock: Monotonic seconds.
    """

    def __init__(self, pid: int, *, clock: Callable[[], float]) -> None:
        self._pid = pid
        self._clock = clock
        self._looked = clock()
        self._used: float | None = None

    def has_worked(self) -> bool:
        """Return whether it has worked since the last look, or reads from a disk now. Blocking.

        True where nobody can tell, and at the first look.
        """
        used, now = self._seconds(), self._clock()
        if used is None:
            return True
        worked = self._used is None or used - self._used > IDLE_SHARE * (now - self._looked)
        self._used, self._looked = used, now
        return worked or self._waits_for_a_disk()

    def _seconds(self) -> float | None:
        try:
            times = psutil.Process(self._pid).cpu_times()
        except psutil.Error:
            return None
        return times.user + times.system

    def _waits_for_a_disk(self) -> bool:
        """Return whether one of its threads does: the pages of a model file on a slow volume come by and by."""
        try:
            threads = psutil.Process(self._pid).threads()
            return any(psutil.Process(thread.id).status() == psutil.STATUS_DISK_SLEEP for thread in threads)
        except psutil.Error:  # one has ended meanwhile
            return True


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:  # it has ended
        return None


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it has ended
        return 0
