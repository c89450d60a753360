"""When a WebUI is restarted for its memory: at a level, between jobs, and not again and again."""

from __future__ import annotations

import os

import pynvml
import pytest

from worker.recovery.memory_limit import JOBS_BETWEEN, MemoryMonitor, Usage, first_gpu, over, resident
from worker.telemetry.gpu import Gpu, Gpus

FULL, EMPTY = Usage(95, 100), Usage(50, 100)


@pytest.mark.parametrize(
    ("usage", "share", "due"),
    [
        (FULL, 0.9, True),
        (Usage(90, 100), 0.9, True),
        (EMPTY, 0.9, False),
        (FULL, 0.0, False),
        (Usage(1, 0), 0.9, False),
    ],
)
def test_a_restart_is_due_from_the_share_on_and_never_where_that_is_off_or_nothing_is_known(
    usage: Usage,
    share: float,
    due: bool,  # noqa: FBT001 - a table
) -> None:
    assert (over("RAM", usage, share) is not None) is due


@pytest.mark.parametrize(("ram", "vram", "word"), [(FULL, None, "RAM"), (EMPTY, FULL, "VRAM"), (None, FULL, "VRAM")])
def test_either_memory_counts_and_the_reason_names_it(ram: Usage | None, vram: Usage | None, word: str) -> None:
    monitor = MemoryMonitor(lambda: 1, 0.9, ram=lambda _: ram, vram=lambda: vram)
    whys = [monitor.after_job() for _ in range(JOBS_BETWEEN)]
    assert whys[:-1] == [None] * (JOBS_BETWEEN - 1), "one that needs this much from the start is not restarted for ever"
    assert f"its {word} is at" in str(whys[-1])


def test_a_new_process_has_its_jobs_first() -> None:
    pid = 1
    monitor = MemoryMonitor(lambda: pid, 0.9, ram=lambda _: FULL, vram=lambda: None)
    for _ in range(JOBS_BETWEEN - 1):
        monitor.after_job()
    pid = 2
    assert monitor.after_job() is None


def test_a_webui_of_somebody_else_is_measured_as_far_as_possible_and_never_restarted() -> None:
    monitor = MemoryMonitor(lambda: None, 0.9, ram=lambda _: FULL, vram=lambda: FULL)
    assert [monitor.after_job() for _ in range(2 * JOBS_BETWEEN)] == [None] * 2 * JOBS_BETWEEN
    assert monitor.memory == {"vram_bytes": 95}


def test_a_process_is_measured_with_its_descendants_and_one_that_is_gone_is_unknown() -> None:
    usage = resident(os.getpid())
    assert usage is not None
    assert 1_000_000 < usage.used < usage.total
    assert resident(4194999) is None


class Machine(Gpus):
    """Two GPUs, or what NVIDIA's library says in their place."""

    def __init__(self, *found: Gpu, error: pynvml.NVMLError | None = None) -> None:
        super().__init__()
        self._found = list(found)
        self._error = error

    def read(self) -> list[Gpu]:
        if self._error is not None:
            raise self._error
        return self._found


def test_the_gpu_is_the_first_and_one_that_says_nothing_is_unknown() -> None:
    two = Machine(Gpu("first", memory_total=100, memory_used=95), Gpu("second", memory_total=200, memory_used=5))
    assert first_gpu(two)() == FULL
    assert first_gpu(Machine())() is None
    assert first_gpu(Machine(error=pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)))() is None
