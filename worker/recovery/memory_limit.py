"""Restart of a WebUI whose memory comes close to the machine's limit: measured after each job, done between two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import pynvml

from worker.telemetry.gpu import Gpus
from worker.webui.process.environment import memory_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

JOBS_BETWEEN = 24
"""Jobs that a WebUI runs at least before it is restarted: one that needs this much memory would be so at once again."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of one kind of memory: in use, and in all."""

    used: int
    total: int


def resident(pid: int) -> Usage | None:
    """Return the resident memory of `pid` and its descendants within the container's limit; None: it is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return Usage(sum(_resident(each) for each in family), memory_bytes())
    except psutil.Error:
        return None


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


class MemoryMonitor:
    """Measures the memory of one WebUI process after another. Blocking, some milliseconds a look.

    Args:
        pid: Returns the current process, None where it is not ours.
        share: Of the RAM or the GPU's memory, from which on a restart is due; 0: never.
        ram: Returns the resident memory of a process.
        vram: Returns the memory of the first GPU, None where that is unknown.

    Attributes:
        memory: ``{ram_bytes, vram_bytes}`` of the WebUI as last measured, unknown figures left out.
    """

    def __init__(
        self,
        pid: Callable[[], int | None],
        share: float,
        *,
        ram: Callable[[int], Usage | None] = resident,
        vram: Callable[[], Usage | None] | None = None,
    ) -> None:
        self._pid = pid
        self._share = share
        self._ram = ram
        self._vram = vram if vram is not None else first_gpu(Gpus())
        self._watched: int | None = None
        self._jobs = 0
        self.memory: dict[str, int] = {}

    def after_job(self) -> str | None:
        """Measure; return why the process should be restarted, None when it need not."""
        pid = self._pid()
        usages = {"RAM": self._ram(pid) if pid is not None else None, "VRAM": self._vram()}
        known = {name: usage for name, usage in usages.items() if usage is not None}
        self.memory = {f"{name.lower()}_bytes": usage.used for name, usage in known.items()}
        if pid != self._watched:
            self._watched, self._jobs = pid, 0
        self._jobs += 1
        if pid is None or self._jobs < JOBS_BETWEEN:
            return None
        return next((why for name, usage in known.items() if (why := over(name, usage, self._share))), None)


def over(name: str, usage: Usage, share: float) -> str | None:
    """Return a sentence when `usage` is above `share` of the total, None when it is not, or `share` is 0."""
    if share <= 0 or usage.total <= 0 or usage.used < share * usage.total:
        return None
    return f"its {name} is at {usage.used / 1e9:.1f} of {usage.total / 1e9:.1f} GB"


def first_gpu(gpus: Gpus) -> Callable[[], Usage | None]:
    """Return a function that tells the memory of the GPU that the WebUI computes on, None where that is unknown."""

    def read() -> Usage | None:
        try:
            found = gpus.read()
        except pynvml.NVMLError:  # the GPU is lost, or keeps its figures to itself
            return None
        return Usage(found[0].memory_used, found[0].memory_total) if found else None

    return read
