"""Batches against endpoints on loopback: one that draws, `serve` on the stand-in, and RunPod's queue in front of it."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.support.documents.command_line import invoke
from tests.support.ports import free_port
from tests.support.servers.drawing_endpoint import DrawingEndpoint, drawing_endpoint
from tests.support.servers.fake_runpod import running_endpoints
from tests.support.waiting import wait_until
from tests.support.webui_dir import environment
from tests.support.workerproc import ROOT, WorkerProcess
from worker.client import Batch, BatchFolderError, Endpoint, read_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.client import BatchState

WORKFLOW: dict[str, Any] = {"type": "workflow", "workflow": "portrait", "prompt": "a lighthouse", "seed": 100}
SMALL: dict[str, Any] = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 100}
KEY = "a-key-for-clients"
NAME = re.compile(r"\d{8}-\d{6}_s\d+_[a-z]+_\d+x\d+(-\d+)?\.png")


@pytest.fixture
def drawing() -> Iterator[tuple[DrawingEndpoint, str]]:
    with drawing_endpoint() as (endpoint, server):
        yield endpoint, server.url


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two workers behind plain HTTP, each with its own WebUI."""
    urls, processes = [], []
    try:
        for name in ("one", "two"):
            folder, port = tmp_path_factory.mktemp(name), free_port()
            more = {"HTTP_PORT": str(port), "HTTP_API_KEY": KEY, "STANDIN_STEP_SECONDS": "0.02"}
            process = WorkerProcess(["-m", "worker", "serve"], environment(folder, more), folder)
            process.__enter__()
            processes.append(process)
            urls.append(f"http://127.0.0.1:{port}")
        for process in processes:
            process.wait_line(r"ready  |\"event\":\"ready\"")
        yield urls
    finally:
        for process in processes:
            process.__exit__(None)


def command(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", "batch", *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(cwd), **more},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def plan(folder: Path, job: Any = WORKFLOW) -> str:
    (folder / "plan.json").write_text(json.dumps(job), encoding="utf-8")
    return "plan.json"


def pictures(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def documents(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((folder / "metadata").glob("*.json"))]


def seeds(folder: Path) -> list[int]:
    return sorted(document["seed"] for document in documents(folder))


def batch(folder: Path, *urls: str, in_flight: int = 4, key: str | None = None) -> Batch:
    return Batch(folder, [Endpoint(url, api_key=key) for url in urls], in_flight=in_flight)


def test_of_forty_candidates_the_five_that_are_left_are_finished_and_a_second_time_none(
    drawing: tuple[DrawingEndpoint, str], tmp_path: Path
) -> None:
    endpoint, url = drawing
    made = command(plan(tmp_path), "--endpoint", url, "--until", "base", "--count", "40", "--out", "b", cwd=tmp_path)
    assert (made.returncode, made.stdout) == (0, "b: pictures made: 40, job time: 60 s\n"), made.stderr
    folder = tmp_path / "b"
    candidates = pictures(folder / "stage1")
    assert len(candidates) == len(pictures(folder / "metadata")) == 40
    assert all(NAME.fullmatch(name) for name in candidates)
    assert seeds(folder) == list(range(100, 140))
    for name in candidates[5:]:
        (folder / "stage1" / name).unlink()

    again = command("--continue", "b", "--report", "r.html", cwd=tmp_path)  # on the endpoint of the batch
    assert (again.returncode, again.stdout) == (0, "b: pictures made: 5, job time: 8 s\n"), again.stderr
    finals = [document for document in documents(folder) if document["stage"] == "final"]
    assert sorted(document["source"] for document in finals) == [f"stage1/{name}" for name in candidates[:5]]
    with Image.open(folder / finals[0]["picture"]) as picture:
        assert picture.size == (192, 256)
    assert all("until" not in job for job in list(endpoint.jobs.values())[40:])
    report = (tmp_path / "r.html").read_text()
    assert "rejected: deleted</th><td>35<" in report
    assert "Finals: 5" in report

    last = command("--continue", "b", "--endpoint", url, cwd=tmp_path)
    assert (last.returncode, last.stdout) == (0, "b: pictures made: 0\n")
    assert len(endpoint.jobs) == 45


def test_a_deleted_picture_is_not_made_again_and_a_larger_count_makes_what_is_missing(
    drawing: tuple[DrawingEndpoint, str], tmp_path: Path
) -> None:
    endpoint, url = drawing
    assert batch(tmp_path, url).run(WORKFLOW, count=3).done == 3
    (tmp_path / "final" / pictures(tmp_path / "final")[0]).unlink()
    state = batch(tmp_path, url).run(WORKFLOW, count=5)
    assert (state.there, state.done) == (3, 2)
    assert sorted(endpoint.seeds()) == [100, 101, 102, 103, 104]


def test_a_plan_that_is_changed_between_two_runs_makes_its_own_pictures_and_leaves_the_others(
    drawing: tuple[DrawingEndpoint, str], tmp_path: Path
) -> None:
    endpoint, url = drawing
    before = {**WORKFLOW, "until": "base"}
    changed = {**before, "prompt": "a harbour"}
    assert batch(tmp_path, url).run(before, count=2).done == 2
    first = {name: (tmp_path / "stage1" / name).read_bytes() for name in pictures(tmp_path / "stage1")}
    state = batch(tmp_path, url).run(changed, count=2)
    assert (state.there, state.done) == (0, 2)
    assert len(pictures(tmp_path / "stage1")) == 4, "the same seeds in the same second"
    assert {name: (tmp_path / "stage1" / name).read_bytes() for name in first} == first
    state = batch(tmp_path, url).run(before, count=2)
    assert (state.there, state.done) == (2, 0)
    batch(tmp_path, url).finish(lambda candidates: candidates)
    finished = list(endpoint.jobs.values())[4:]
    assert sorted((job["prompt"], job["seed"]) for job in finished) == [
        ("a harbour", 100),
        ("a harbour", 101),
        ("a lighthouse", 100),
        ("a lighthouse", 101),
    ]


def test_candidates_picked_in_the_gallery_are_finished(drawing: tuple[DrawingEndpoint, str], tmp_path: Path) -> None:
    from tests.support.gallery import served

    url = drawing[1]
    batch(tmp_path / "b", url).run({**WORKFLOW, "until": "base"}, count=4)
    names = pictures(tmp_path / "b" / "stage1")
    with served(tmp_path / "b", tmp_path / "cache") as gallery:
        wait_until(lambda: all("facts" in one for one in gallery.pictures()))
        facts = [one["facts"] for one in gallery.pictures()]
        assert {one["stage"] for one in facts} == {"base"}
        assert {one["seed"] for one in facts} == {"100", "101", "102", "103"}
        assert gallery.mark(f"stage1/{names[1]}", flag="pick").status_code == 200
    done = command("--continue", "b", "--endpoint", url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [document["source"] for document in documents(tmp_path / "b") if "source" in document] == [
        f"stage1/{names[1]}"
    ]


def test_pictures_of_stages_between_have_a_folder_of_their_own(
    drawing: tuple[DrawingEndpoint, str], tmp_path: Path
) -> None:
    batch(tmp_path, drawing[1]).run({**WORKFLOW, "output": {"intermediates": ["base"]}})
    (document,) = documents(tmp_path)
    assert [f"intermediates/{name}" for name in pictures(tmp_path / "intermediates")] == document["intermediates"]
    assert "_base_96x128" in document["intermediates"][0]
    assert "_final_192x256" in document["picture"]


def test_what_may_succeed_later_is_sent_again_and_what_can_t_is_told_at_the_end(
    drawing: tuple[DrawingEndpoint, str], tmp_path: Path
) -> None:
    endpoint, url = drawing

    def answers(job: Any, times: int) -> dict[str, Any] | None:
        if job["seed"] == 101 and times == 1:
            return {"error": "out_of_memory: full", "error_code": "out_of_memory", "fault": "worker", "retryable": True}
        if job["seed"] == 102:
            return {"error": "model_not_found: gone", "error_code": "model_not_found", "fault": "client"}
        return None

    endpoint.answers = answers
    done = command(plan(tmp_path), "--endpoint", url, "--count", "3", "--out", "b", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("b: pictures made: 2, failed: 1")
    assert "failed: seed 102: a lighthouse: model_not_found: gone" in done.stderr
    assert endpoint.seeds().count(101) == 2
    assert endpoint.seeds().count(102) == 1
    endpoint.answers = lambda _job, _times: None
    again = command(plan(tmp_path), "--endpoint", url, "--count", "3", "--out", "b", cwd=tmp_path)
    assert (again.returncode, again.stdout) == (0, "b: pictures made: 1, jobs already done: 2, job time: 2 s\n")


def test_a_row_that_is_refused_is_not_sent_with_other_seeds(
    drawing: tuple[DrawingEndpoint, str], tmp_path: Path
) -> None:
    endpoint, url = drawing
    refusal = {"error": "invalid_input: steps", "error_code": "invalid_input", "fault": "client", "retryable": False}
    endpoint.answers = lambda job, _times: refusal if job["prompt"] == "bad" else None
    table = tmp_path / "plan.csv"
    table.write_text("prompt,steps\ngood,2\nbad,x\n", encoding="utf-8")
    state = batch(tmp_path / "b", url, in_flight=1).run(read_plan(table), count=5)
    assert (state.done, len(state.failures)) == (5, 1)
    assert [job["prompt"] for job in endpoint.jobs.values()].count("bad") == 1


def test_ctrl_c_cancels_what_runs_and_the_same_command_makes_the_rest(
    drawing: tuple[DrawingEndpoint, str], tmp_path: Path
) -> None:
    endpoint, url = drawing
    arguments = [plan(tmp_path), "--endpoint", url, "--count", "8", "--in-flight", "2", "--out", "b"]
    drawn: list[int] = []

    def hold_from_the_fourth(job: Mapping[str, Any], _times: int) -> None:
        drawn.append(job["seed"])
        if len(endpoint.jobs) >= 4:
            endpoint.held.set()

    endpoint.answers = hold_from_the_fourth
    with WorkerProcess(["-m", "worker", "batch", *arguments], {}, tmp_path) as process:
        process.wait_line("Picture: final/")
        wait_until(
            lambda: endpoint.held.is_set() and len(endpoint.jobs) - len(drawn) == len(running(tmp_path / "b")) == 2
        )
        for _ in range(5):  # as where a signal comes to the process and to its group
            os.kill(process.pid, signal.SIGINT)
        assert process.wait() == 1
        process.wait_line(r"b: pictures made: \d+, .*cancelled")
    kept = seeds(tmp_path / "b")
    assert len(endpoint.cancelled) == 2
    assert running(tmp_path / "b") == []
    endpoint.held.clear()
    endpoint.answers = lambda _job, _times: None
    done = command(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"jobs already done: {len(kept)}" in done.stdout
    assert seeds(tmp_path / "b") == list(range(100, 108))


def test_an_endless_batch_ends_well_when_it_is_interrupted(
    drawing: tuple[DrawingEndpoint, str], tmp_path: Path
) -> None:
    arguments = [plan(tmp_path), "--endpoint", drawing[1], "--endless", "--out", "b"]
    with WorkerProcess(["-m", "worker", "batch", *arguments], {}, tmp_path) as process:
        process.wait_line("_s105_final")
        process.terminate()
        assert process.wait() == 0
    assert seeds(tmp_path / "b")[:6] == [100, 101, 102, 103, 104, 105]


def test_the_jobs_of_an_endpoint_that_is_gone_are_made_by_the_other(
    drawing: tuple[DrawingEndpoint, str], tmp_path: Path
) -> None:
    endpoint, url = drawing
    with drawing_endpoint() as (closed, server):
        closed.refusal = 401
        state = batch(tmp_path, server.url, url).run(WORKFLOW, count=8)
    assert (state.done, state.failures) == (8, ())
    assert sorted(endpoint.seeds()) == list(range(100, 108))


def test_an_endpoint_that_comes_back_is_waited_for_and_a_report_that_cannot_be_written_is_told_last(
    drawing: tuple[DrawingEndpoint, str], tmp_path: Path
) -> None:
    endpoint, url = drawing
    endpoint.refusal = 503
    with WorkerProcess(
        ["-m", "worker", "batch", plan(tmp_path), "--endpoint", url, "--out", "b", "--report", "plan.json/r.html"],
        {},
        tmp_path,
    ) as process:
        process.wait_line("Trying again: .*answered 503")
        endpoint.refusal = None
        assert process.wait() == 1
    assert "b: pictures made: 1" in process.log
    assert "the report can't be written to plan.json/r.html: " in process.log
    assert "Errno" not in process.log


def test_a_batch_without_a_usable_endpoint_ends_and_says_why(tmp_path: Path) -> None:
    with drawing_endpoint() as (closed, server):
        closed.refusal = 401
        done = command(plan(tmp_path), "--endpoint", server.url, "--count", "8", "--out", "b", cwd=tmp_path)
    assert done.returncode == 1
    assert "ended early: " in done.stderr
    assert "answered 401" in done.stderr


def test_two_batches_can_t_work_in_one_folder(drawing: tuple[DrawingEndpoint, str], tmp_path: Path) -> None:
    endpoint, url = drawing
    endpoint.held.set()
    first = batch(tmp_path, url)
    states = list[Any]()
    thread = threading.Thread(target=lambda: states.append(first.run(WORKFLOW)))
    thread.start()
    wait_until(lambda: running(tmp_path) != [])
    with pytest.raises(BatchFolderError, match="another batch is at work"):
        batch(tmp_path, url).run(WORKFLOW)
    first.cancel()
    thread.join()
    assert states[0].is_interrupted


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a PLAN"),
        (["plan.json", "--continue", "b"], "give a PLAN"),
        (["plan.json", "--count", "2", "--endless"], "exclude each other"),
        (["missing.yaml"], "can't be read"),
        (["plan.json", "--until", "base"], "no workflow"),
        (["--continue", "nowhere"], "no such folder"),
        (["plan.json", "--endpoint", "not an endpoint"], "neither an endpoint"),
    ],
)
def test_a_command_that_can_t_be_followed_is_told_before_anything_is_made(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    plan(tmp_path, SMALL)
    done = invoke("batch", *arguments, cwd=tmp_path)
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())


def made_by(state: BatchState, folder: Path) -> dict[str, list[int]]:
    assert state.failures == ()
    found: dict[str, list[int]] = {}
    for document in documents(folder):
        found.setdefault(document["batch"]["endpoint"], []).append(document["seed"])
    return found


def test_two_workers_share_a_batch_and_no_picture_is_made_twice(workers: list[str], tmp_path: Path) -> None:
    state = batch(tmp_path, *workers, in_flight=2, key=KEY).run({**SMALL, "steps": 5}, count=16)
    shares = made_by(state, tmp_path)
    assert set(shares) == set(workers)
    assert sorted(seeds(tmp_path)) == list(range(100, 116))
    assert batch(tmp_path, *workers, key=KEY).run({**SMALL, "steps": 5}, count=16).there == 16


STAGED: dict[str, Any] = {
    "type": "workflow",
    "prompt": "a {red|green|blue} house",
    "wildcards": True,
    "seed": 100,
    "steps": 2,
    "stages": [
        {"name": "base", "type": "txt2img", "width": 64, "height": 64},
        {"name": "mid", "type": "img2img", "scale": 2, "denoising_strength": 0.5, "seed_offset": 1000},
        {"name": "final", "type": "upscale", "scale": 2, "upscaler": "Lanczos", "seed_offset": 2000},
    ],
}


@pytest.mark.parametrize(
    ("of_the_first_stage", "until"),
    [({"n_iter": 3}, "base"), ({"n_iter": 3}, "mid"), ({"accept": {"count": 2, "quality": {}}}, "base")],
)
def test_each_candidate_of_a_job_of_several_pictures_has_the_final_that_the_whole_job_gives_it(
    workers: list[str], tmp_path: Path, of_the_first_stage: dict[str, Any], until: str
) -> None:
    first = {**STAGED["stages"][0], **of_the_first_stage}
    job = {**STAGED, "stages": [first, *STAGED["stages"][1:]]}
    whole = Endpoint(workers[0], api_key=KEY).run(job).wait()

    work = batch(tmp_path, workers[0], key=KEY)
    assert work.run(read_plan(tmp_path / plan(tmp_path, job)).until(until)).failures == ()
    made = work.finish(lambda candidates: candidates[1:2])
    assert (made.failures, len(made.pictures)) == ((), 1)
    (document,) = [one for one in documents(tmp_path) if one["stage"] == "final"]
    expected = whole.pictures()[whole.seeds.index(document["seed"])]
    with Image.open(tmp_path / made.pictures[0]) as picture, Image.open(io.BytesIO(expected)) as wanted:
        assert picture.tobytes() == wanted.tobytes()
    assert document["prompt"] in {"a red house", "a green house", "a blue house"}
    assert document["checkpoint"]
    candidate = Path(document["source"]).name.split("_")[1]
    assert f"_{candidate}_" in document["picture"]  # by the seed in its name, a final is known as its candidate's


def test_a_batch_runs_on_runpods_queue(workers: list[str], tmp_path: Path) -> None:
    with running_endpoints() as runpod:
        runpod.worker, runpod.worker_key = workers[0], KEY
        more = {"RUNPOD_API_KEY": runpod.key, "RUNPOD_ENDPOINT_BASE_URL": runpod.url}
        arguments = (plan(tmp_path, SMALL), "--endpoint", "abc123", "--count", "3", "--out", "b", "--price", "0.69")
        done = command(*arguments, cwd=tmp_path, **more)
    assert done.returncode == 0, done.stderr
    assert re.search(r"pictures made: 3, job time: \d+ s, \$0\.\d{3}", done.stdout)
    assert seeds(tmp_path / "b") == [100, 101, 102]


def test_a_batch_without_an_endpoint_runs_on_a_worker_of_its_own(tmp_path: Path) -> None:
    done = command(plan(tmp_path, SMALL), "--count", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "The stand-in draws the pictures" in done.stderr
    with Image.open(tmp_path / "batch" / documents(tmp_path / "batch")[0]["picture"]) as picture:
        assert picture.size == (64, 64)
        assert "a cat" in picture.info["parameters"]
    assert seeds(tmp_path / "batch") == [100, 101]


def running(folder: Path) -> list[str]:
    there = folder / ".running"
    return [path.name for path in there.glob("[!.]*.json")] if there.is_dir() else []
