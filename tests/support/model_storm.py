"""Workers that fetch, use, remove and note models without pause, made to be killed at any moment."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.support.model_store import fetch, store
from worker.contract.types.model_ref import ModelRef
from worker.models.volume.registry import Entry


def run(root: str, url: str, count: int, seed: int) -> None:
    """Go on until a file named ``stop`` appears in `root`; write each removal to ``removed`` before it happens."""
    rng = random.Random(seed)
    where = store(Path(root) / "models", url, MODEL_LEASE_S="1")
    log = (Path(root) / "removed").open("a")
    while not (Path(root) / "stop").exists():
        number = rng.randrange(count)
        model = asyncio.run(fetch(where, ModelRef(url=f"{url}/{number}.safetensors")))
        if rng.random() < 0.1:
            log.write(f"{number}\n")
            log.flush()
            where.space.remove(model.key)
        if rng.random() < 0.2:
            where.inventory.flush()
    where.close()


Moment = Literal["read", "bytes", "before the rename", "after the rename"]
"""As it reads what it will merge into; at a byte of the temporary file; with that whole; with the new file in place."""
MOMENTS: tuple[Moment, ...] = ("read", "bytes", "before the rename", "after the rename")


@dataclass(frozen=True, slots=True)
class Death:
    """The moment of a write of the registry at which the process that writes is killed.

    Attributes:
        moment: Where in the write.
        passed: How many reads, writes or renames of the registry are let pass first.
        byte: For "bytes": that many are written.
    """

    moment: Moment
    passed: int
    byte: int = 0


class Killer:
    """Kills its own process at a moment of a write: by the kernel, so that nothing of the process runs any more.

    An audit hook (`sys.addaudithook`) tells the moments; the bytes are cut by a limit of the file size.
    """

    def __init__(self, death: Death, registry: Path) -> None:
        self._death = death
        self._registry = str(registry)
        self._temporary = f".{registry.name}."
        self._left = death.passed
        self._renamed = False
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, so that a write would fail instead

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See one audit event."""
        moment = self._death.moment
        if self._renamed:
            self._die()
        if event == "open" and isinstance(arguments[0], str):
            path, mode = arguments[0], arguments[1]
            if moment == "read" and path == self._registry and mode == "r" and self._is_time():
                self._die()
            if moment == "bytes" and Path(path).name.startswith(self._temporary) and self._is_time():
                resource.setrlimit(resource.RLIMIT_FSIZE, (self._death.byte, resource.RLIM_INFINITY))
        if event == "os.rename" and os.fspath(arguments[1]) == self._registry:
            if moment == "before the rename" and self._is_time():
                self._die()
            self._renamed = moment == "after the rename" and self._is_time()

    def _is_time(self) -> bool:
        self._left -= 1
        return self._left < 0

    def _die(self) -> None:
        self._renamed = False  # the kill is an event too
        os.kill(os.getpid(), signal.SIGKILL)


def note(root: str, name: str, size: int, first: int, death: Death | None) -> None:
    """Write one model's count of uses to the registry, counting on from `first`, until killed.

    Each count stands in ``<name>.begun`` before it is written, and in ``<name>.done`` once it was.
    """
    where = store(Path(root) / "models", "http://127.0.0.1:9")
    with (Path(root) / f"{name}.begun").open("a") as begun, (Path(root) / f"{name}.done").open("a") as done:
        if death is not None:
            sys.addaudithook(Killer(death, Path(root) / "models" / "cache_registry.json"))
        for count in itertools.count(first):
            begun.write(f"{count}\n")
            begun.flush()
            where.inventory.record(
                Entry("lora", f"{name}.safetensors", size, sha256="0" * 64, base_model="SD 1.5", uses=count)
            )
            done.write(f"{count}\n")
            done.flush()
