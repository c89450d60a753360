from __future__ import annotations

import pytest

from worker.webui.process.environment import GIB, checkpoints_in_memory, loras_in_memory


@pytest.mark.parametrize(("gib", "checkpoints"), [(4, 1), (16, 1), (26, 1), (27, 2), (48, 4), (64, 4), (500, 4)])
def test_more_memory_keeps_more_checkpoints_up_to_four(gib: int, checkpoints: int) -> None:
    assert checkpoints_in_memory(gib * GIB) == checkpoints


@pytest.mark.parametrize(("gib", "loras"), [(4, 0), (8, 0), (12, 1), (32, 6), (500, 16)])
def test_more_memory_keeps_more_loras_up_to_sixteen(gib: int, loras: int) -> None:
    assert loras_in_memory(gib * GIB) == loras
