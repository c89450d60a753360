"""Two workers whose result cache is on one volume, and one of them is killed while the other waits for its pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.jobsource import JobSource
from tests.support.rig import Rig
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_killed_worker_was_making_is_made_by_the_one_that_waited_for_it(tmp_path: Path) -> None:
    cached = {"RESULT_CACHE": "volume", "MODEL_LEASE_S": "30"}
    with (
        JobSource(hold_s=1.0) as source,
        JobSource(hold_s=1.0) as others,
        Rig(tmp_path, source, **cached) as killed,
        Rig(tmp_path, others, **cached) as waiting,
    ):
        killed.run(seed=1)
        waiting.run(seed=1)
        killed.fault("slow-step", seconds=0.3)
        killed.offer(seed=7, steps=100)
        killed.wait_sampling()
        waiting.reset()
        job = waiting.offer(seed=7, steps=100)
        wait_until(lambda: "another worker is making the same pictures" in str(others.events("progress", job)))
        assert waiting.sent() == []
        killed.worker.kill()
        killed.worker.wait()
        answer = waiting.answer(job)
        assert "images" in answer
        assert "cached" not in answer
        assert len(waiting.sent()) == 1
        assert waiting.run(seed=7, steps=100)["cached"], "it was kept, and its lease given up"
