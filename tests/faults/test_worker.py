"""The worker itself is stopped or killed, its results are lost, its store fails, its WebUI takes too much memory."""

from __future__ import annotations

import base64
import json
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.support.jobsource import JobSource
from tests.support.pace import stretched
from tests.support.rig import SMALL, Rig, pixels
from worker.recovery.memory_limit import JOBS_BETWEEN
from worker.webui.process.environment import memory_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def own_rig(folder: Path, **settings: str) -> Iterator[Rig]:
    with JobSource(hold_s=1.0) as source, Rig(folder, source, RESULTS_DIR=str(folder / "kept"), **settings) as rig:
        yield rig


def wait_for(fact: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # files and processes of others wake nobody here


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_a_result_that_the_platform_lost_is_found_again_by_another_worker(tmp_path: Path) -> None:
    with own_rig(tmp_path, CONCURRENCY="1") as first:
        first.source.spoil_postings("refuse")
        lost = first.offer(seed=-1)
        first.source.wait_event("failed", lost)
        other = first.run(seed=7)
        assert len(list((tmp_path / "kept").glob("*/answer.json"))) == 2
        first.worker.kill()
        first.worker.wait()
        first.worker.assert_nothing_left()
        (kept,) = (tmp_path / "kept").glob(f"{lost}-*/answer.json")
        answer = json.loads(kept.read_bytes())["answer"]
        with Rig(tmp_path, first.source, RESULTS_DIR=str(tmp_path / "kept")) as second:
            asked: dict[str, Any] = {**SMALL, "seed": -1}
            first.source.offer({"id": lost, "input": asked})
            assert second.answer(lost) == answer, "a random seed would have made another picture"
            assert answer["images"] != other["images"]
            first.source.offer({"id": "another", "input": {**asked, "seed": 7}})
            assert second.answer("another")["images"] == other["images"]
            assert len(second.sent()) == 2, "the warm-up and one job"


def test_an_answer_whose_posting_was_begun_is_found_again_although_the_worker_is_killed_at_once(tmp_path: Path) -> None:
    with own_rig(tmp_path) as first:
        right = first.run(seed=7)
        first.source.spoil_postings("reset", "reset", "reset")  # it posts again soon, the kill has to come before
        lost = first.offer(seed=7)
        first.source.wait_event("failed", lost)
        first.worker.kill()
        first.worker.wait()
        with Rig(tmp_path, first.source, RESULTS_DIR=str(tmp_path / "kept")) as second:
            first.source.offer({"id": lost, "input": {**SMALL, "seed": 7}})
            assert second.answer(lost)["images"] == right["images"]
            second.worker.wait_line("answered from the kept answers")


def test_after_sigterm_running_jobs_are_finished_and_the_rest_is_left_to_others(tmp_path: Path) -> None:
    with own_rig(tmp_path, CONCURRENCY="1") as rig:
        rig.run()
        rig.fault("slow-step", seconds=0.3)
        running = rig.offer(seed=1)
        rig.wait_sampling()
        waiting = rig.offer(seed=2)
        rig.worker.terminate()
        assert "images" in rig.answer(running)
        assert rig.worker.wait() == 0
        rig.worker.assert_nothing_left()
        assert rig.source.events("taken", waiting) == []
        assert '"state":"draining"' in rig.worker.log


def test_a_job_that_outlives_the_grace_is_handed_back(tmp_path: Path) -> None:
    with own_rig(tmp_path, STOP_GRACE_S="0.5") as rig:
        rig.run()
        rig.fault("slow-step", seconds=0.3)
        running = rig.offer(steps=100)
        rig.wait_sampling()
        asked = time.monotonic()
        rig.worker.terminate()
        answer = rig.answer(running)
        assert answer["error_code"] == "worker_stopping"
        assert answer["retryable"] is True
        assert rig.worker.wait() == 0
        assert time.monotonic() - asked < stretched(8)
        rig.worker.assert_nothing_left()


def test_a_killed_worker_leaves_nothing_torn_and_the_next_one_removes_what_it_left(tmp_path: Path) -> None:
    with own_rig(tmp_path) as rig:
        rig.run()
        before = files(tmp_path / "models")
        rig.fault("slow-step", seconds=0.3)
        rig.offer(steps=50)
        rig.wait_sampling()
        rig.worker.kill()
        assert rig.worker.wait() == -9
        rig.worker.assert_nothing_left()
        assert files(tmp_path / "models") == before
        left = Path(f"/tmp/a1111-worker-{rig.worker.pid}")
        assert left.exists()
        with Rig(tmp_path, rig.source) as following:
            assert "images" in following.run()
            assert not left.exists()


@pytest.mark.slow
def test_a_store_that_is_down_leads_to_inline_pictures_or_to_kept_ones(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        store = {
            "BUCKET_ENDPOINT_URL": f"http://127.0.0.1:{closed.getsockname()[1]}",
            "BUCKET_ACCESS_KEY_ID": "sesame-key",
            "BUCKET_SECRET_ACCESS_KEY": "sesame-secret",
            "BUCKET_NAME": "pictures",
        }
        with own_rig(tmp_path, MAX_OUTPUT_BYTES="12000", JOB_TIMEOUT_S="20", **store) as rig:
            answer = rig.run(output={"delivery": "s3"}, seed=3)
            assert answer["error_code"] == "delivery_failed"
            (kept,) = answer["details"]["kept"]
            assert kept.startswith(str(tmp_path / "kept"))
            picture = base64.b64encode(Path(kept).read_bytes()).decode()
            assert pixels(picture) == pixels(rig.run(seed=3, output={"delivery": "base64"})["images"][0])


@pytest.mark.slow
def test_a_result_that_is_too_large_says_what_would_fit(tmp_path: Path) -> None:
    with own_rig(tmp_path, MAX_OUTPUT_BYTES="12000") as rig:
        answer = rig.run(width=512, height=512, batch_size=4)
        assert answer["error_code"] == "output_too_large"
        assert answer["details"]["limit_bytes"] == 12000
        assert "images" in rig.run(), "the next one is delivered"


@pytest.mark.slow
def test_memory_above_its_level_is_answered_with_a_new_process_between_two_jobs(tmp_path: Path) -> None:
    with own_rig(tmp_path, RECYCLE_MEMORY_SHARE=str(400_000_000 / memory_bytes()), RESTARTS="4") as rig:
        right = pixels(rig.run()["images"][0])
        before = rig.webui()
        assert before.memory_info().rss < 300_000_000, "or the level is no level"
        rig.fault("memory-growth", count=-1, mb=16)
        jobs = 1
        while "its RAM is at" not in rig.worker.log and jobs < 60:
            assert pixels(rig.run()["images"][0]) == right
            jobs += 1
        assert JOBS_BETWEEN <= jobs < 60
        psutil.wait_procs([before], timeout=10)
        assert pixels(rig.run()["images"][0]) == right
        assert rig.webui().pid != before.pid
        assert rig.source.events("failed") == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"STANDIN_FAULTS": "boot-exit:code=3"}, "exit code 3"),
        pytest.param({"STANDIN_FAULTS": "no-port", "BOOT_TIMEOUT_S": "2"}, "boot deadline", marks=pytest.mark.slow),
        ({"DEFAULT_CHECKPOINT": "Nobody_v1"}, "Nobody_v1"),
        ({"MODELS_DIR": "/proc/nowhere"}, "nowhere"),
    ],
)
def test_a_worker_that_can_not_start_takes_no_job_and_says_why(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    with own_rig(tmp_path, **settings) as rig:
        rig.offer()
        assert rig.worker.wait() == 1
        (end,) = [json.loads(line) for line in rig.worker.log.splitlines() if "can't start" in line]
        assert said in json.dumps(end)
        assert end["code"] == "webui_boot_failed"
        assert rig.source.events("take") == []
        rig.worker.assert_nothing_left()


def test_poisonous_input_is_answered_at_once_and_costs_no_memory(tmp_path: Path) -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    poisons: list[Any] = [
        {"prompt": deep},
        {"prompt": "x" * 5_000_000},
        {"prompt": "a cat", "init_images": ["A" * 8_000_000]},
        {"prompt": "a cat", "loras": [f"lora{number}" for number in range(100_000)]},
        {"prompt": "a cat", "width": 10**18},
        {"prompt": "a cat", "steps": "NaN"},
        {"prompt": "\ud800"},
        {"prompt": "a\x00cat"},
        {"prompt": 5, "width": "x", "loras": {"a": 1}, "seed": [], "output": 3},
        [],
        None,
        "a cat",
        {f"field{number}": number for number in range(20_000)},
    ]
    with own_rig(tmp_path) as rig:
        right = pixels(rig.run()["images"][0])
        worker = psutil.Process(rig.worker.pid)
        before = worker.memory_info().rss
        for poison in poisons:
            job = rig.source.offer({"input": poison})
            answer = rig.answer(job)
            assert answer["error_code"] == "invalid_input", (str(poison)[:80], answer)
            assert len(json.dumps(answer)) < 20_000
        assert worker.memory_info().rss - before < 150_000_000
        assert pixels(rig.run()["images"][0]) == right
