from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.standin import StandIn, running_standin
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

JOB = {"prompt": "a cat", "steps": 10, "width": 64, "height": 64}


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running_standin(tmp_path_factory.mktemp("standin"), env={"STANDIN_STEP_SECONDS": "0.02"}) as running:
        yield running


def test_jobs_run_one_at_a_time_in_order_of_arrival(standin: StandIn) -> None:
    done: list[int] = []

    def run(seed: int) -> None:
        answer = standin.post("txt2img", {**JOB, "seed": seed})
        done.append(json.loads(answer.json()["info"])["seed"])

    threads = []
    for seed in range(3):
        threads.append(threading.Thread(target=run, args=(seed,)))
        threads[-1].start()
        wait_for(standin, seed + 1)
    for thread in threads:
        thread.join(30)
    assert done == [0, 1, 2]


def wait_for(standin: StandIn, count: int) -> None:
    wait_until(lambda: len(standin.requests("txt2img")) >= count)


def test_progress_follows_the_job_without_waiting(standin: StandIn) -> None:
    seen: list[dict[str, Any]] = []
    finished = threading.Event()

    def run() -> None:
        standin.post("txt2img", {**JOB, "steps": 60, "n_iter": 2})
        finished.set()

    thread = threading.Thread(target=run)
    thread.start()
    while not finished.wait(0.02):
        seen.append(standin.get("progress").json())
    thread.join()
    busy = [entry for entry in seen if entry["state"]["job_count"] > 0]
    assert {entry["state"]["job"] for entry in busy} >= {"Batch 1 out of 2", "Batch 2 out of 2"}
    shares = [entry["progress"] for entry in busy]
    assert 0.01 <= shares[0] < shares[-1] <= 1
    assert all(entry["state"]["sampling_steps"] == 60 for entry in busy if entry["state"]["sampling_step"])


def test_the_api_can_ask_for_a_password(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("locked")
    with running_standin(folder, args=["--api-auth", "user:secret"]) as locked:
        assert locked.get("samplers").status_code == 401
        assert locked.get("samplers", auth=("user", "secret")).status_code == 200
