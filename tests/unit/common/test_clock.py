"""Time stands still while the process is frozen."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from worker.common.clock import LONGEST_GAP_S, TICK_S, RunningClock

ROOT = Path(__file__).resolve().parents[3]

FROZEN = """
import sys
from worker.common.clock import running
running.start()
began = running()
print("ready", flush=True)
sys.stdin.readline()
print(running() - began)
"""


class Source:
    def __init__(self) -> None:
        self.now = 500.0

    def __call__(self) -> float:
        return self.now


def test_before_it_ticks_it_is_its_source() -> None:
    source = Source()
    clock = RunningClock(source)
    assert clock() == 500
    source.now += 1000
    assert clock() == 1500


def test_a_gap_in_the_ticks_is_no_time_and_a_busy_machine_makes_none() -> None:
    source = Source()
    clock = RunningClock(source)
    clock.start()
    began = clock()
    source.now += LONGEST_GAP_S
    assert clock() - began == LONGEST_GAP_S
    source.now += 3600
    assert clock() - began == LONGEST_GAP_S + TICK_S
    source.now += 1
    assert clock() - began == LONGEST_GAP_S + TICK_S + 1


def test_the_timers_of_a_loop_follow_it() -> None:
    source = Source()
    clock = RunningClock(source)

    async def sleep() -> None:
        clock.adopt(asyncio.get_running_loop())
        sleeping = asyncio.ensure_future(asyncio.sleep(100))
        await asyncio.sleep(0)
        assert not sleeping.done()
        source.now += 101
        await asyncio.wait({sleeping})

    began = time.monotonic()
    asyncio.run(sleep())
    assert time.monotonic() - began < 90


def test_a_process_that_was_stopped_has_not_lived_meanwhile() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FROZEN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as frozen:
        assert frozen.stdin is not None
        assert frozen.stdout is not None
        frozen.stdout.readline()
        os.kill(frozen.pid, signal.SIGSTOP)
        time.sleep(2 * LONGEST_GAP_S)  # the time that must not count
        os.kill(frozen.pid, signal.SIGCONT)
        frozen.stdin.write("\n")
        frozen.stdin.flush()
        assert float(frozen.stdout.readline()) < LONGEST_GAP_S


DEADLINES_OF_THEIR_OWN = {"worker/net/fetch.py", "worker/common/clock.py"}
"""Modules whose deadlines nobody else sees."""


@pytest.mark.parametrize("path", sorted((ROOT / "worker").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_deadline_that_is_handed_on_is_on_this_clock(path: Path) -> None:
    """Two clocks differ by hours in a worker that was ever frozen."""
    text = path.read_text(encoding="utf-8")
    if path.relative_to(ROOT).as_posix() not in DEADLINES_OF_THEIR_OWN and re.search(r"\bdeadline: float\b", text):
        assert "time.monotonic" not in text
