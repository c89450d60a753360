"""Restarting a WebUI whose memory creeps up: decided after each job, on a trend, not on a count."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from worker.recovery.trend import Trend
from worker.webui.process.inspect import gpu_bytes, resident_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from concurrent.futures import Executor

MEGABYTE = 1_000_000
LOOK_AFTER_S = 0.05
"""From a job to the look at the memory, which would slow the answer's last step."""


class Recycler:
    """Watches the memory of one process after another.

    Args:
        pid: Returns the process of now, None where it is not ours.
        limit: See `Trend`.
        kept: Models that the WebUI may keep in memory; so many different ones are growth that is meant.
        ram: Returns the resident bytes of a process and its descendants.
        gpu: Returns the bytes in use on the GPU, None where that can't be told.

    Attributes:
        memory: ``{ram_bytes, vram_bytes}`` of the WebUI as last measured, what can't be told left out.
    """

    def __init__(
        self,
        pid: Callable[[], int | None],
        limit: int,
        *,
        kept: int = 0,
        ram: Callable[[int], int] = resident_bytes,
        gpu: Callable[[], int | None] = gpu_bytes,
    ) -> None:
        self._pid = pid
        self._watched: int | None = None
        self._limit = limit
        self._kept = kept
        self._seen: set[str] = set()
        self._grown = False
        self._ram, self._gpu = ram, gpu
        self.memory: dict[str, int] = {}
        self._trends = {"RAM": Trend(limit), "VRAM": Trend(limit)}

    def used(self, models: Iterable[str]) -> None:
        """Take note of the models of a job: one that is new here stays in memory, as long as there is room for it."""
        new = set(models) - self._seen
        self._grown = self._grown or (bool(new) and len(self._seen) <= self._kept)
        self._seen |= new

    def creeping(self) -> str | None:
        """Measure; return why the process should be restarted, None when it need not. Some milliseconds."""
        pid = self._pid()
        ram, vram = self._ram(pid) if pid is not None else None, self._gpu()
        told = {"ram_bytes": ram, "vram_bytes": vram}
        self.memory = {name: figure for name, figure in told.items() if figure is not None}
        if pid is None or self._limit <= 0:
            return None
        if pid != self._watched:
            self._seen.clear()
        if pid != self._watched or self._grown:
            self._watched, self._grown = pid, False
            for trend in self._trends.values():
                trend.clear()
        for name, figure in (("RAM", ram), ("VRAM", vram)):
            if figure and self._trends[name].add(figure):
                return f"its {name} creeps up from job to job ({figure / MEGABYTE:.0f} MB now)"
        return None


class Looks:
    """Looks after jobs, each in a thread; the loop hears of one only when there is something to do.

    Args:
        recycler: Measures.
        pool: Where threads come from.
        recycle: What is to be done, with the reason.
    """

    def __init__(self, recycler: Recycler, pool: Executor, recycle: Callable[[str], Coroutine[Any, Any, None]]) -> None:
        self._recycler = recycler
        self._pool = pool
        self._recycle = recycle
        self._recycling: set[asyncio.Task[None]] = set()

    def after_a_job(self, models: Iterable[str]) -> None:
        """Look soon; the job had these models."""
        self._recycler.used(models)
        loop = asyncio.get_running_loop()
        loop.call_later(LOOK_AFTER_S, self._pool.submit, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        why = self._recycler.creeping()
        if why is not None:
            with suppress(RuntimeError):  # the worker is at its end
                loop.call_soon_threadsafe(self._act, why)

    def _act(self, why: str) -> None:
        task = asyncio.ensure_future(self._recycle(why))
        self._recycling.add(task)
        task.add_done_callback(self._recycling.discard)
