"""Batches that are killed: whatever the moment, no picture is lost and none is made twice."""

from __future__ import annotations

import base64
import json
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.gallery import png
from tests.support.servers.drawing_endpoint import drawing_endpoint
from tests.support.workerproc import ROOT, WorkerProcess
from worker.client import Endpoint
from worker.client.batch.batch_folder import BatchFolder
from worker.client.batch.batch_run import IN_FLIGHT, Batch

PICTURE = base64.b64encode(png(1)).decode()
JOB: dict[str, Any] = {
    "type": "workflow",
    "workflow": "portrait",
    "prompt": "a lighthouse",
    "until": "base",
    "seed": 100,
}

WRITE_AND_DIE = """
import os, signal, sys
from datetime import datetime, timezone
from pathlib import Path
from tests.support.gallery import png
from worker.client.batch.batch_answers import AnsweredPicture
from worker.client.batch.batch_folder import BatchFolder
from worker.client.batch.batch_items import BatchItem

left = int(sys.argv[2])

def audit(event, arguments):
    global left
    if event in ("open", "os.rename") and sys.argv[1] in str(arguments[0]):
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

folder = BatchFolder(Path(sys.argv[1]))
sys.addaudithook(audit)
picture = AnsweredPicture("", 7, "final", {}, [("base", "")])
folder.keep(BatchItem("k", 0, {"seed": 7}), picture, [png(1), png(2)], datetime.now(timezone.utc), index=0, of=1)
"""


def documents(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "metadata").glob("*.json"))]


@pytest.mark.slow
def test_a_picture_that_was_being_written_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    outcomes = []
    for moment in range(20):
        root = tmp_path / str(moment)
        done = subprocess.run(
            [sys.executable, "-c", WRITE_AND_DIE, str(root), str(moment)], cwd=ROOT, check=False, timeout=60
        )
        folder = BatchFolder(root)
        with folder.held():
            made = folder.made()
        files = [path for path in root.rglob("*.png*") if path.name != "batch.json"]
        if made:
            (document,) = documents(root)
            assert sorted(str(path.relative_to(root)) for path in files) == sorted(
                [document["picture"], *document["intermediates"]]
            )
        else:
            assert files == []
        outcomes.append((done.returncode, bool(made)))
        if done.returncode == 0:
            break
    assert outcomes[0] == (-signal.SIGKILL, False)
    assert (-signal.SIGKILL, True) in outcomes  # killed after its JSON was there
    assert outcomes[-1] == (0, True)


@pytest.mark.parametrize("lines", [0, 1, pytest.param(5, marks=pytest.mark.slow)])
def test_a_batch_that_is_killed_goes_on_and_waits_for_the_jobs_that_it_had_sent(tmp_path: Path, lines: int) -> None:
    with drawing_endpoint() as (endpoint, server):
        endpoint.answers = lambda _job, _times: endpoint.held.set() if len(endpoint.jobs) >= lines + 4 else None
        if not lines:
            endpoint.held.set()
        (tmp_path / "plan.json").write_text(json.dumps(JOB))
        arguments = ["plan.json", "--endpoint", server.url, "--count", "20", "--out", "b"]
        with WorkerProcess(["-m", "worker", "batch", *arguments], {}, tmp_path) as process:
            wait_for(lambda: endpoint.held.is_set() and len(running(tmp_path / "b")) == 4)
            process.kill()
            assert process.wait() == -signal.SIGKILL
        endpoint.held.clear()
        endpoint.answers = lambda _job, _times: None
        state = Batch(tmp_path / "b", [Endpoint(server.url)]).run(JOB, count=20)
        assert state.failures == ()
        assert sorted(document["seed"] for document in documents(tmp_path / "b")) == list(range(100, 120))
        assert sorted(endpoint.seeds()) == list(range(100, 120))
        assert len(list((tmp_path / "b" / "stage1").glob("*.png"))) == 20


@pytest.mark.slow
def test_a_batch_that_is_killed_at_twenty_random_moments_loses_no_picture_and_keeps_none_twice(tmp_path: Path) -> None:
    draw = random.Random(17)
    count, kills = 400, 20
    (tmp_path / "plan.json").write_text(json.dumps(JOB))
    with drawing_endpoint() as (endpoint, server):
        arguments = ["plan.json", "--endpoint", server.url, "--count", str(count), "--out", "b"]
        for _ in range(kills):
            before = len(endpoint.jobs)
            with WorkerProcess(["-m", "worker", "batch", *arguments], {}, tmp_path) as process:
                more = draw.randint(0, 12)
                wait_for(lambda: len(endpoint.jobs) >= before + more)  # noqa: B023 - called at once
                time.sleep(draw.random() * 0.1)  # any moment of the jobs that follow
                process.kill()
                assert process.wait() == -signal.SIGKILL
        seen = documents(tmp_path / "b")
        assert 0 < len(seen) < count
        state = Batch(tmp_path / "b", [Endpoint(server.url)]).run(JOB, count=count)
    assert (state.failures, state.there) == ((), len(seen))
    assert sorted(document["seed"] for document in documents(tmp_path / "b")) == list(range(100, 100 + count))
    pictures = {path.name for path in (tmp_path / "b" / "stage1").glob("*.png")}
    assert pictures == {Path(document["picture"]).name for document in documents(tmp_path / "b")}
    assert len(endpoint.jobs) - count <= kills * IN_FLIGHT  # those that were just being sent may be sent once more


def test_three_endpoints_share_a_killed_batch_and_no_picture_is_made_twice(tmp_path: Path) -> None:
    with ExitStack() as stack:
        places = [stack.enter_context(drawing_endpoint()) for _ in range(3)]
        for endpoint, _ in places:
            endpoint.held.set()
        (tmp_path / "plan.json").write_text(json.dumps(JOB))
        named = [part for _, server in places for part in ("--endpoint", server.url)]
        arguments = ["plan.json", *named, "--in-flight", "2", "--count", "30", "--out", "b"]
        with WorkerProcess(["-m", "worker", "batch", *arguments], {}, tmp_path) as process:
            wait_for(lambda: len(running(tmp_path / "b")) == 6)
            process.kill()
            assert process.wait() == -signal.SIGKILL
        for endpoint, _ in places:
            endpoint.held.clear()
        assert BatchFolder(tmp_path / "b").endpoints() == [server.url for _, server in places]
        state = Batch(tmp_path / "b", [Endpoint(server.url) for _, server in places], in_flight=2).run(JOB, count=30)
        assert (state.failures, state.done) == ((), 30)
        seeds = [seed for endpoint, _ in places for seed in endpoint.seeds()]
        assert sorted(seeds) == list(range(100, 130))
        assert all(endpoint.jobs for endpoint, _ in places)
        assert sorted(document["seed"] for document in documents(tmp_path / "b")) == list(range(100, 130))


@pytest.mark.parametrize(
    "output",
    [
        [1],
        "done",
        {"images": [1, 2]},
        {"images": ["%%%"]},
        {"images": [base64.b64encode(b"no picture" * 9).decode()]},
        {"images": ["file:///etc/passwd"]},
        {"images": [PICTURE], "stages": [{"name": "base", "images": 5}]},
        {"images": [PICTURE], "keys": {"0": "a"}},
    ],
)
def test_an_answer_that_makes_no_sense_is_a_failure_that_is_told(tmp_path: Path, output: Any) -> None:
    with drawing_endpoint() as (endpoint, server):
        endpoint.answers = lambda _job, _times: output
        state = Batch(tmp_path, [Endpoint(server.url)]).run(JOB)
    (failure,) = state.failures
    assert "can't be" in failure.message
    assert (state.done, state.ended_by, documents(tmp_path), running(tmp_path)) == (0, "", [], [])


def test_names_in_an_answer_lead_to_no_file_outside_the_folder(tmp_path: Path) -> None:
    stages = [{"name": "../../../evil", "images": [PICTURE]}]
    told = {"images": [PICTURE], "seeds": ["../x"], "pictures": [{"prompt": "\ud800<b>"}], "stages": stages}
    with drawing_endpoint() as (endpoint, server):
        endpoint.answers = lambda _job, _times: told
        state = Batch(tmp_path / "a" / "b", [Endpoint(server.url)]).run(JOB)
    assert state.failures == ()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_jobs_that_ended_with_their_endpoint_are_sent_again(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path)
    with drawing_endpoint() as (endpoint, server):
        batch = Batch(tmp_path, [Endpoint(server.url)])
        batch.run(JOB)
        (key,) = folder.made()
        for path in (tmp_path / "metadata").iterdir():
            path.unlink()
        folder.note_running(key, endpoint=server.url, job_id="job-of-yesterday", worker=None)
        assert batch.run(JOB).done == 1
        assert endpoint.seeds() == [100, 100]
        assert running(tmp_path) == []


def test_a_full_disk_ends_the_batch_and_says_so(tmp_path: Path) -> None:
    with drawing_endpoint() as (_, server):
        batch = Batch(tmp_path, [Endpoint(server.url)])
        (tmp_path / "stage1").rmdir()
        (tmp_path / "stage1").write_text("no folder")
        state = batch.run(JOB, count=50)
    assert "can't be written to" in state.ended_by
    assert state.done == 0


def running(folder: Path) -> list[str]:
    there = folder / ".running"
    return [path.name for path in there.glob("[!.]*.json")] if there.is_dir() else []


def wait_for(is_so: Any) -> None:
    pause = threading.Event()
    for _ in range(600):
        if is_so():
            return
        pause.wait(0.05)
    raise AssertionError("it did not come to that")
