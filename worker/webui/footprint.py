"""What a process and everything it started hold in memory, and what is in use on the GPU."""

from __future__ import annotations

import os
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(pid: int) -> int:
    """Return the resident bytes of `pid` and its descendants, 0 where it is gone. Reads ``/proc``."""
    total, pending = 0, [pid]
    while pending:
        one = Path("/proc") / str(pending.pop())
        try:
            total += int((one / "statm").read_text(encoding="ascii").split()[1]) * PAGE
            for task in (one / "task").iterdir():
                pending += [int(child) for child in (task / "children").read_text(encoding="ascii").split()]
        except (OSError, IndexError, ValueError):
            continue
    return total


def on_gpu() -> int | None:
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
