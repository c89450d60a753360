"""Length of the way of a job: modules and folder changes of a plain txt2img job, counted by a profile hook.

A call counts once, however often its coroutine is resumed. What runs in threads counts too; each thread has its own
folder changes. The event loop's own reads of its clock are no part of the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import worker
from benchmarks.figures import Figure
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from types import FrameType

    from worker.app import Worker

ROOT = Path(worker.__file__).parent
CLOCK = "common/clock.py"
JOB = {"prompt": "a lighthouse at dusk", "steps": 2, "width": 64, "height": 64, "seed": 42}
WARM_UP = 2
SETTLED_S = 0.3
"""For what follows an answer, such as the look at the memory."""


class WayCounter:
    """Counts the worker's functions that are entered while it is on."""

    def __init__(self) -> None:
        self.on = False
        self.modules: set[str] = set()
        self.changes: Counter[tuple[str, str]] = Counter()
        """Between folders, whatever their depth."""
        self._folders = threading.local()
        self._frames: dict[int, FrameType] = {}  # held, so that no identity is used twice

    def hook(self, frame: FrameType, event: str, _argument: Any) -> None:
        """Take note of one event of the interpreter."""
        file = frame.f_code.co_filename
        if not self.on or event != "call" or not file.startswith(str(ROOT)) or id(frame) in self._frames:
            return
        self._frames[id(frame)] = frame
        module = file[len(str(ROOT)) + 1 :]
        caller = frame.f_back
        if module == CLOCK and caller is not None and not caller.f_code.co_filename.startswith(str(ROOT)):
            return
        folder = module.rpartition("/")[0]
        self.modules.add(module)
        before = getattr(self._folders, "last", folder)
        if before != folder:
            self.changes[before, folder] += 1
        self._folders.last = folder

    def part_changes(self) -> int:
        """Return the changes between parts of the worker: its modules and first folders."""
        return sum(
            count
            for (before, after), count in self.changes.items()
            if before.partition("/")[0] != after.partition("/")[0]
        )


def run(folder: Path) -> list[Figure]:
    """Measure."""
    counter = WayCounter()
    threading.setprofile(counter.hook)  # before any pool has threads
    try:
        with (
            (folder / "log").open("w", encoding="utf-8") as log,
            contextlib.redirect_stderr(log),
            running_host(folder) as host,
        ):
            sys.setprofile(counter.hook)
            asyncio.run(_play(host, counter))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return [
        Figure("way.modules", len(counter.modules), "modules"),
        Figure("way.folder_changes", sum(counter.changes.values()), "changes"),
        Figure("way.part_changes", counter.part_changes(), "changes"),
        *(
            Figure(f"way.from.{before or 'worker'}.to.{after or 'worker'}", count, "changes")
            for (before, after), count in counter.changes.most_common(5)
        ),
    ]


async def _play(host: Worker, counter: WayCounter) -> None:
    for number in range(WARM_UP + 1):
        counter.on = number == WARM_UP
        answer = await host.run({"id": f"job-{number}", "input": JOB}, on_progress=lambda _: None)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        counter.on = False
        await asyncio.sleep(SETTLED_S)
