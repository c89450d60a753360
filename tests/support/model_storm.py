"""Workers that fetch, use, remove and note models without pause, made to be killed at any moment."""

from __future__ import annotations

import asyncio
import itertools
import random
from pathlib import Path

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


def note(root: str, name: str, size: int, first: int) -> None:
    """Write one model's count of uses to the registry, counting on from `first`, until killed.

    Each count stands in ``<name>.begun`` before it is written, and in ``<name>.done`` once it was.
    """
    where = store(Path(root) / "models", "http://127.0.0.1:9")
    with (Path(root) / f"{name}.begun").open("a") as begun, (Path(root) / f"{name}.done").open("a") as done:
        for count in itertools.count(first):
            begun.write(f"{count}\n")
            begun.flush()
            where.inventory.record(
                Entry("lora", f"{name}.safetensors", size, sha256="0" * 64, base_model="SD 1.5", uses=count)
            )
            done.write(f"{count}\n")
            done.flush()
