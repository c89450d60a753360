"""A worker that the platform freezes in the middle of a job, with its WebUI, goes on where it was."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.rig import Rig

FROZEN_S = 8.0


def test_frozen_time_is_no_hang_and_does_not_count_against_the_deadline(rig: Rig) -> None:
    rig.run()
    rig.fault("slow-step", seconds=0.3, count=-1)
    before = rig.webui()
    offered = rig.offer(prompt="a frozen cat", steps=10, timeout_s=7)
    rig.wait_sampling()
    processes = (before.pid, rig.worker.pid)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(FROZEN_S)  # longer than the stall limit and the whole job's time
    for pid in reversed(processes):
        os.kill(pid, signal.SIGCONT)
    answer = rig.answer(offered)
    rig.reset()
    assert "error" not in answer, answer
    assert answer["warnings"] == []
    assert rig.webui().pid == before.pid
