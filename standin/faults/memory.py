"""The machine's memory as `GET /sdapi/v1/memory` tells it, and the fault that makes it grow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from standin.faults.switches import Faults


class Memory:
    """RAM and VRAM of one process; `vram_gib`: of the GPU that it claims to have, 0 for none."""

    def __init__(self, faults: Faults, vram_gib: float) -> None:
        self._faults = faults
        self._vram_gib = vram_gib
        self.ballast: list[bytes] = []
        """Held by the fault `memory-growth`."""

    def grow(self) -> None:
        """After a job: more of it is held where a fault says so."""
        growth = self._faults.take("memory-growth")
        if growth is not None:
            self.ballast.append(b"\1" * int(growth.number("mb", 50) * 2**20))

    def to_json(self) -> dict[str, Any]:
        """Return the endpoint's answer."""
        page = {
            name: int(value.split()[0]) * 1024
            for name, _, value in (line.partition(":") for line in _meminfo())
            if value.strip()
        }
        total, free = page.get("MemTotal", 0), page.get("MemAvailable", 0)
        ram = {"free": free, "used": total - free, "total": total}
        if not self._vram_gib:
            return {"ram": ram, "cuda": {"error": "unavailable"}}
        size = int(self._vram_gib * 2**30)
        used = min(size, 2 * 2**30 + sum(map(len, self.ballast)))
        active = {"current": used, "peak": used}
        cuda = {"system": {"free": size - used, "used": used, "total": size}, "active": active, "allocated": active}
        return {
            "ram": ram,
            "cuda": {**cuda, "reserved": active, "inactive": active, "events": {"retries": 0, "oom": 0}},
        }


def _meminfo() -> list[str]:
    path = Path("/proc/meminfo")
    return path.read_text(encoding="ascii").splitlines() if path.exists() else []
