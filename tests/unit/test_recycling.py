"""When a WebUI is restarted for its memory: not for models that it is meant to keep."""

from __future__ import annotations

import itertools

import pytest

from worker.recovery.recycling import Recycler
from worker.recovery.trend import WINDOW

STEP = 400_000_000


def _restarts(models: list[str], *, kept: int) -> bool:
    """Whether a process that grows with each job is restarted; job n has the model `models[n]`."""
    figures = itertools.count(10 * STEP, STEP)
    recycler = Recycler(lambda: 1, 4 * STEP, kept=kept, ram=lambda _: next(figures), gpu=lambda: None)
    told = []
    for model in models:
        recycler.used(["checkpoint", model])
        told.append(recycler.creeping())
    return any(told)


@pytest.mark.parametrize(
    ("models", "kept", "restarted"),
    [
        pytest.param(["lora"] * 2 * WINDOW, 30, True, id="the same model all the time"),
        pytest.param([f"lora {n}" for n in range(WINDOW + 4)], 30, False, id="new models, all of which are kept"),
        pytest.param([f"lora {n}" for n in range(2 * WINDOW)], 4, True, id="more new models than are kept"),
        pytest.param([f"lora {n % 3}" for n in range(2 * WINDOW)], 30, True, id="models that were all there before"),
    ],
)
def test_memory_that_grows_is_a_leak_but_for_models_that_are_kept(
    models: list[str], kept: int, *, restarted: bool
) -> None:
    assert _restarts(models, kept=kept) is restarted
