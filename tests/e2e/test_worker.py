"""The whole worker as it runs in production: `handler.py`, the real SDK, a WebUI it starts itself, jobs over HTTP."""

from __future__ import annotations

import base64
import io
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests
from PIL import Image

from tests.support.jobsource import JobSource
from tests.support.pace import stretched
from tests.support.standin import running_standin
from tests.support.webui_dir import environment
from tests.support.workerproc import ROOT, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.support.jobsource import Result

HANDLER = str(ROOT / "handler.py")
ROOM_S = 3.0
"""For what is asked to take a second and takes a tenth, on a machine that is busy with other tests."""
JOB: dict[str, Any] = {"prompt": "a lighthouse", "steps": 2, "width": 64, "height": 64, "seed": 7}


class Running:
    """A worker, where its jobs come from, and its WebUI."""

    def __init__(self, source: JobSource, process: WorkerProcess, settings: Mapping[str, str]) -> None:
        self.source = source
        self.process = process
        self.webui = f"http://127.0.0.1:{settings['WEBUI_PORT']}"

    def offer(self, **changes: Any) -> str:
        return self.source.offer(**{**JOB, **changes})

    def result(self, **changes: Any) -> Result:
        return self.source.wait_result(self.offer(**changes))

    def wait_ready(self) -> None:
        self.source.wait_event("take")

    def fault(self, name: str, count: int = 1, **parameters: Any) -> None:
        answer = requests.post(
            f"{self.webui}/standin/faults", json={"fault": name, "count": count, **parameters}, timeout=10
        )
        assert answer.status_code == 200, answer.text

    def webui_process(self) -> psutil.Process:
        pid = requests.get(f"{self.webui}/standin", timeout=10).json()["pid"]
        return psutil.Process(pid)

    def wait_generating(self) -> None:
        """Return once the WebUI works on a picture."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            state = requests.get(f"{self.webui}/sdapi/v1/progress", timeout=10).json()
            if state["state"]["job_count"] and state["state"]["sampling_step"]:
                return
            time.sleep(0.02)  # a server wakes nobody who asks it
        raise AssertionError("the WebUI generates nothing")


@contextmanager
def production(folder: Path, **more: str) -> Iterator[Running]:
    settings = environment(folder, more)
    with JobSource(hold_s=30) as source:
        everything = {**settings, **source.worker_env()}
        with WorkerProcess([HANDLER], everything, folder, on_exit=source.worker_ended) as process:
            yield Running(source, process, settings)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One worker for the tests that leave it whole."""
    with production(tmp_path_factory.mktemp("worker"), MAX_OUTPUT_BYTES="60000") as running:
        yield running


def pixels(result: Result) -> bytes:
    assert result.error is None, result.error
    (image,) = result.output["images"]
    with Image.open(io.BytesIO(base64.b64decode(image))) as picture:
        raw: bytes = picture.convert("RGB").tobytes()
    return raw


def test_a_job_s_picture_comes_back(worker: Running) -> None:
    result = worker.result(width=128, height=64)
    with Image.open(io.BytesIO(base64.b64decode(result.output["images"][0]))) as picture:
        assert picture.size == (128, 64)
        assert "a lighthouse" in picture.info["parameters"]
    assert result.output["seeds"] == [7]
    assert result.output["applied"]["checkpoint"] == "Deliberate_v6"
    assert result.output["worker"]["backend"] == "a1111"


def test_a_typo_is_answered_with_what_was_meant_and_the_worker_goes_on(worker: Running) -> None:
    result = worker.source.wait_result(worker.source.offer(prompt="x", num_inference_step=5))
    assert result.error is not None
    assert result.error.startswith("invalid_input: num_inference_step")
    assert result.output["fault"] == "client"
    assert worker.result().error is None


@pytest.mark.parametrize(
    "input_", [None, [], "a cat", 7, {}, {"prompt": {"deep": []}}, {"prompt": "x", "steps": 10**40}]
)
def test_an_input_that_is_no_job_is_the_client_s_fault(worker: Running, input_: object) -> None:
    result = worker.source.wait_result(worker.source.offer({"input": input_}))
    assert result.error is not None
    assert result.output["error_code"] == "invalid_input"
    assert result.output["fault"] == "client"


def test_a_second_job_is_prepared_while_the_first_generates_but_never_generated_with_it(worker: Running) -> None:
    worker.fault("slow-step", count=20, seconds=0.1)
    first = worker.offer(steps=20, seed=1)
    worker.wait_generating()  # until then it may be overtaken
    second = worker.offer(steps=4, seed=2)
    done = [worker.source.wait_result(job) for job in (first, second)]
    (taken,) = worker.source.events("taken", second)
    assert taken.at < done[0].at < done[1].at
    assert done[1].output["phase_ms"]["queue"] > 100, "it waited for the GPU, ready to go"


def test_a_cancelled_job_is_interrupted_and_the_next_picture_is_clean(worker: Running) -> None:
    clean = pixels(worker.result(steps=4, seed=11))
    worker.fault("slow-step", count=150, seconds=0.1)
    cancelled = worker.offer(steps=150, seed=12)
    worker.source.wait_event("taken", cancelled)
    worker.wait_generating()
    asked = time.monotonic()
    worker.source.cancel(cancelled)
    following = worker.offer(steps=4, seed=11)
    result = worker.source.wait_result(following)
    assert pixels(result) == clean
    assert result.at - asked < 10, "not the fifteen seconds that the cancelled job would have taken"
    assert worker.source.events("done", cancelled) == []
    requests.post(f"{worker.webui}/standin/reset", timeout=10).raise_for_status()


def test_progress_is_told_rises_and_ends_before_the_result(worker: Running) -> None:
    worker.fault("slow-step", count=20, seconds=0.15)
    job = worker.offer(steps=20)
    done = worker.source.wait_result(job)
    told = worker.source.events("progress", job)
    worker.result()
    assert worker.source.events("progress", job) == told
    percents = [event.data["percent"] for event in told]
    assert len(told) >= 2
    assert percents == sorted(percents)
    assert {"stage", "percent", "step", "steps", "eta_s"} <= {key for event in told for key in event.data}
    assert all(event.at < done.at for event in told)


def test_pictures_are_streamed_while_the_next_ones_are_made(worker: Running) -> None:
    worker.fault("slow-step", count=3, seconds=0.15)
    job = worker.offer(n_iter=3, stream=True)
    result = worker.source.wait_result(job)
    told = worker.source.events("stream", job)
    assert [event.data["output"]["index"] for event in told] == [0, 1, 2]
    assert [event.data["output"]["image"] for event in told] == result.output["images"]
    assert told[0].at + 0.15 < told[2].at < result.at
    assert (result.output["streamed"], result.is_stream) == (3, True)


def test_a_result_that_is_too_large_says_so(worker: Running) -> None:
    result = worker.result(width=1024, height=1024, batch_size=4)
    assert result.error is not None
    assert result.error.startswith("output_too_large")
    assert len(result.raw) < 60_000


def test_nothing_that_was_posted_was_refused(worker: Running) -> None:
    assert worker.result().error is None
    assert worker.source.events("refused") == []
    posted = [event.job_id for event in worker.source.events("done")]
    assert len(posted) == len(set(posted))


def test_sigterm_finishes_and_posts_the_running_job_and_takes_the_webui_along(tmp_path: Path) -> None:
    with production(tmp_path, STANDIN_STEP_SECONDS="0.1") as running:
        job = running.offer(steps=10)
        running.source.wait_event("taken", job)
        running.wait_generating()
        running.process.terminate()
        assert running.source.wait_result(job).error is None
        assert running.process.wait() == 0
        running.process.assert_nothing_left()


def test_a_killed_worker_takes_everything_along(tmp_path: Path) -> None:
    with production(tmp_path, STANDIN_STEP_SECONDS="0.1") as running:
        job = running.offer(steps=100)
        running.source.wait_event("taken", job)
        running.wait_generating()
        running.process.kill()
        assert running.process.wait() == -9
        running.process.assert_nothing_left()
    assert running.source.events("done", job) == []


def test_a_webui_that_dies_in_a_job_and_may_not_be_restarted_is_told_and_the_worker_is_replaced(tmp_path: Path) -> None:
    with production(tmp_path, RESTARTS="0") as running:
        running.wait_ready()
        running.fault("die", step=1)
        result = running.result()
        assert result.error is not None
        assert result.error.startswith("webui_crashed")
        assert result.output["retryable"] is True
        assert running.process.wait() == 1
        running.process.assert_nothing_left()


def test_a_webui_that_dies_between_jobs_and_may_not_be_restarted_ends_the_worker_within_a_second(
    tmp_path: Path,
) -> None:
    with production(tmp_path, RESTARTS="0") as running:
        running.wait_ready()
        webui = running.webui_process()
        webui.kill()
        died = time.monotonic()
        assert running.process.wait() == 1
        assert time.monotonic() - died < stretched(ROOM_S), "without waiting for the open long polls"
        assert "killed by SIGKILL" in running.process.log
        running.process.assert_nothing_left()


@pytest.mark.parametrize("seconds", ["0", pytest.param("0.6", marks=pytest.mark.slow)])
def test_a_webui_that_dies_at_boot_ends_the_worker_with_its_last_words(tmp_path: Path, seconds: str) -> None:
    with production(tmp_path, STANDIN_FAULTS=f"boot-exit:seconds={seconds}") as running:
        died = running.process.wait_line('"ended"|how=exit')
        assert running.process.wait() == 1
        assert time.monotonic() - died < stretched(ROOM_S)
        assert "Starting Serverless Worker" not in running.process.log
        (end,) = [json.loads(line) for line in running.process.log.splitlines() if "the worker can't start" in line]
        assert end["code"] == "webui_boot_failed"
        assert any("stand-in" in line for line in end["log"])
        assert running.source.events("take") == []
        running.process.assert_nothing_left()


@pytest.mark.slow
def test_a_webui_that_somebody_else_started_is_used_and_left_alone(tmp_path: Path) -> None:
    with running_standin(tmp_path / "webui") as webui, JobSource() as source:
        settings = {**source.worker_env(), "WEBUI_URL": webui.url, "MODELS_DIR": str(tmp_path / "webui" / "models")}
        with WorkerProcess([HANDLER], settings, tmp_path, on_exit=source.worker_ended) as process:
            assert pixels(source.wait_result(source.offer(**JOB)))
            process.terminate()
            assert process.wait() == 0
        assert webui.get("options").status_code == 200


def test_production_without_a_webui_is_an_error_never_the_stand_in(tmp_path: Path) -> None:
    with JobSource() as source, WorkerProcess([HANDLER], source.worker_env(), tmp_path) as process:
        assert process.wait() == 1
        assert "the stand-in never serves production jobs" in process.log
        assert source.events("take") == []


def test_a_bad_setting_ends_the_start_and_says_what_is_allowed(tmp_path: Path) -> None:
    with WorkerProcess([HANDLER], {"CONCURRENCY": "many"}, tmp_path) as process:
        assert process.wait() == 1
        assert "CONCURRENCY='many'" in process.log
        assert "Traceback" not in process.log


def test_sigterm_while_booting_ends_everything(tmp_path: Path) -> None:
    with production(tmp_path, STANDIN_FAULTS="no-port:count=-1") as running:
        running.process.wait_line("spawned")
        running.process.terminate()
        assert running.process.wait() == 0
        running.process.assert_nothing_left()


AUDIT = """
import os, sys
file = open(os.environ["AUDIT_FILE"] + str(os.getpid()), "w", buffering=1)
def note(event, args):
    if event == "subprocess.Popen":
        print("spawn", file=file)
    elif event == "import" and args[0] in {"runpod", "boto3", "botocore", "aiohttp"}:
        print(args[0], file=file)
sys.addaudithook(note)
"""


def test_the_webui_is_spawned_before_the_sdk_and_boto3_are_imported(tmp_path: Path) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(AUDIT)
    more = {
        "PYTHONPATH": f"{ROOT}:{tmp_path / 'hook'}",
        "AUDIT_FILE": str(tmp_path / "audit-"),
        "WEBUI_XFORMERS": "off",
    }
    with production(tmp_path, **more) as running:
        running.wait_ready()
        running.process.terminate()
        assert running.process.wait() == 0
        seen = (tmp_path / f"audit-{running.process.pid}").read_text().split()
    assert seen[0] == "spawn"
    assert "runpod" in seen


@pytest.mark.slow
def test_local_mode_leaves_a_picture_and_says_what_drew_it(tmp_path: Path) -> None:
    (tmp_path / "test_input.json").write_text(json.dumps({"input": JOB}))
    with WorkerProcess([HANDLER], {}, tmp_path) as process:
        assert process.wait() == 0
        *_, notice, answered, picture = process.log.splitlines()
        assert notice.startswith("Drawn by the stand-in, not diffused")
        assert answered.startswith("Answer: out/answer.json (Deliberate_v6, ")
        assert picture == "Picture: out/001.png"
        process.assert_nothing_left()
    with Image.open(tmp_path / "out" / "001.png") as picture:
        assert picture.size == (64, 64)
    answer = json.loads((tmp_path / "out" / "answer.json").read_text())
    assert answer["images"] == ["001.png"]
    assert answer["worker"]["backend"] == "stand-in"


@pytest.mark.slow
def test_local_mode_exits_1_when_the_job_is_wrong(tmp_path: Path) -> None:
    with WorkerProcess([HANDLER, "--test_input", '{"input": {"prompt": "x", "step": 3}}'], {}, tmp_path) as process:
        assert process.wait() == 1
        assert "did you mean 'steps'" in process.log


def test_the_sdk_s_http_server_answers_as_its_documentation_says(tmp_path: Path) -> None:
    settings = environment(tmp_path)
    from tests.support.ports import free_port

    port = free_port()
    arguments = [HANDLER, "--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", str(port)]
    with WorkerProcess(arguments, settings, tmp_path) as process:
        process.wait_line("Uvicorn running on .*" + str(port))
        base = f"http://127.0.0.1:{port}"
        answer = requests.post(f"{base}/runsync", json={"input": JOB}, timeout=30).json()
        assert answer["status"] == "COMPLETED"
        assert len(answer["output"]["images"]) == 1
        wrong = requests.post(f"{base}/runsync", json={"input": {"prompt": 3}}, timeout=30).json()
        assert wrong["status"] == "FAILED"
        assert wrong["error"].startswith("invalid_input")
        later = requests.post(f"{base}/run", json={"input": JOB}, timeout=30).json()
        answer = requests.post(f"{base}/status/{later['id']}", timeout=30).json()
        assert answer["status"] == "COMPLETED"
        assert answer["output"]["seeds"] == [7]
        assert not (tmp_path / "out").exists(), "files are left by local runs only"
        process.terminate()
        assert process.wait() == 0
        process.assert_nothing_left()
