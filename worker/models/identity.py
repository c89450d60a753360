"""Who a process is to the other workers on a volume, and whether one of them is still alive."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_START_TICKS = 19  # of /proc/<pid>/stat, counted after the name in parentheses


@dataclass(frozen=True, slots=True)
class Owner:
    """One process.

    Attributes:
        token: Unique; safe in file names.
        machine: Boot and process id space: only processes that share it can see each other.
        pid: In that space.
        started: Start time in ticks, so that a reused pid is not mistaken for this process.
    """

    token: str
    machine: str
    pid: int
    started: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON."""
        return {"owner": self.token, "machine": self.machine, "pid": self.pid, "started": self.started}


def this_process() -> Owner:
    """Return a new owner for this process; each call gives another token."""
    pid = os.getpid()
    return Owner(f"{pid}-{secrets.token_hex(4)}", _machine(), pid, _started(pid) or 0)


def surely_dead(data: dict[str, Any], here: Owner) -> bool:
    """Return whether the process described by `Owner.to_json` is known to be gone; False for other machines."""
    if data.get("machine") != here.machine or not isinstance(data.get("pid"), int):
        return False
    return _started(data["pid"]) != data.get("started")


def this_boot() -> str:
    """Return what tells one run of one machine's kernel from every other, or something new where nothing does."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return secrets.token_hex(16)


def _machine() -> str:
    try:
        boot = _BOOT_ID.read_text().strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return secrets.token_hex(8)
    return f"{boot}/{space}"


def _started(pid: int) -> int | None:
    """Return the start time of a running process; None when there is none (or it is a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[_START_TICKS])
