"""A worker that fetches, uses and removes models without pause, made to be killed at any moment."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from tests.support.model_store import fetch, store
from worker.contract.models import ModelRef


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
