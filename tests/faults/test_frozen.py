"""A worker that the platform freezes in the middle of a job, with its WebUI or alone, goes on where it was."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.rig import Rig

FROZEN_S = 4.0
"""Longer than the stall limit; twice it is longer than the whole job's time."""


def freeze(processes: Sequence[int]) -> None:
    """Stop these processes for a while, as the platform does: the first of them wakes up last."""
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(FROZEN_S)  # the time that they have not lived
    for pid in reversed(processes):
        os.kill(pid, signal.SIGCONT)


def test_frozen_time_is_no_hang_and_does_not_count_against_the_deadline(rig: Rig) -> None:
    rig.run()
    rig.fault("slow-step", seconds=0.3, count=-1)
    before = rig.webui()
    offered = rig.offer(prompt="a frozen cat", steps=10, timeout_s=7)
    rig.wait_sampling()
    freeze([before.pid, rig.worker.pid])
    rig.wait_sampling()
    freeze([rig.worker.pid])  # the WebUI goes on, and may be done when the worker wakes up
    answer = rig.answer(offered)
    sent = [body for body in rig.sent() if body["prompt"] == "a frozen cat"]
    rig.reset()
    assert "error" not in answer, answer
    assert answer["warnings"] == []
    assert len(sent) == 1
    assert rig.webui().pid == before.pid
