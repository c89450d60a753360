"""Answers are kept before they are handed over, but no answer waits for long for a folder that is slow."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from worker.recovery.job_lifecycle import KEEP_S, JobLifecycle
from worker.recovery.kept_results import KeptResults, result_key

if TYPE_CHECKING:
    from pathlib import Path

    from worker.recovery.kept_results import ResultKey

JOB = {"id": "job-1", "input": {"prompt": "a cat", "seed": 5}}
ANSWER = {"images": ["x"], "seeds": [5]}


class SlowFolder(KeptResults):
    """A volume that does not come to an end with writing before it is told to."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 100)
        self.go_on = threading.Event()
        self.secured = threading.Event()
        self.takes_s = 0.0

    def keep(self, done: ResultKey, answer: Any) -> None:
        self.go_on.wait(30)
        time.sleep(self.takes_s)  # a volume takes its time, and nothing tells when it is done
        super().keep(done, answer)

    def secure(self, done: ResultKey) -> None:
        super().secure(done)
        self.secured.set()


async def answered(*_: object, **__: object) -> Any:
    return ANSWER


def run(lifecycle: JobLifecycle, job_id: str = "job-1") -> Any:
    return asyncio.run(lifecycle.run({**JOB, "id": job_id}, on_progress=lambda _: None))


def test_an_answer_is_kept_when_it_is_handed_over(tmp_path: Path) -> None:
    results = KeptResults(tmp_path, 100)
    lifecycle = JobLifecycle(answered, results, grace_s=1)
    assert run(lifecycle) == ANSWER
    assert KeptResults(tmp_path, 100).find(result_key(JOB)) == ANSWER
    lifecycle.close()


def test_a_slow_folder_holds_one_answer_up_for_a_moment_and_later_ones_not_at_all(tmp_path: Path) -> None:
    results = SlowFolder(tmp_path)
    lifecycle = JobLifecycle(answered, results, grace_s=1)
    began = time.monotonic()
    assert run(lifecycle) == ANSWER
    first = time.monotonic() - began
    assert run(lifecycle, "job-2") == ANSWER
    second = time.monotonic() - began - first
    assert KEEP_S <= first < KEEP_S + 2
    assert second < KEEP_S
    results.go_on.set()
    lifecycle.close()
    assert KeptResults(tmp_path, 100).find(result_key(JOB)) == ANSWER, "kept all the same"


def test_a_folder_that_has_caught_up_is_waited_for_again(tmp_path: Path) -> None:
    results = SlowFolder(tmp_path)
    lifecycle = JobLifecycle(answered, results, grace_s=1)
    assert run(lifecycle) == ANSWER
    results.go_on.set()
    assert results.secured.wait(30)
    results.takes_s = 0.1
    assert run(lifecycle, "job-2") == ANSWER
    assert KeptResults(tmp_path, 100).find(result_key({**JOB, "id": "job-2"})) == ANSWER
    lifecycle.close()


@pytest.mark.parametrize("answer", [{"error": "x", "images": []}, {"items": []}, [1], None])
def test_what_brings_no_pictures_is_not_kept(tmp_path: Path, answer: Any) -> None:
    async def other(*_: object, **__: object) -> Any:
        return answer

    lifecycle = JobLifecycle(other, KeptResults(tmp_path, 100), grace_s=1)
    assert run(lifecycle) == answer
    lifecycle.close()
    assert list(tmp_path.iterdir()) == []
