"""`python -m worker serve` as a process, and the client and `submit` against it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.documents.command_line import invoke
from tests.support.loopback_http import Reply, serve
from tests.support.pace import stretched
from tests.support.ports import free_port
from tests.support.webui_dir import environment
from tests.support.workerproc import ROOT, WorkerProcess
from worker.client import AsyncEndpoint, Endpoint, EndpointError, JobCancelled, JobFailed, JobTimedOut, read_webhook
from worker.client.endpoint import key_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.loopback_http import Request

KEY = "a-key-for-clients"
SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="
JOB: dict[str, Any] = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 5}
LONG = {**JOB, "steps": 150}
STEP_S = "0.02"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def wait_ready(process: WorkerProcess, url: str) -> None:
    process.wait_line(r'"event":"ready"|ready  ')
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(max_retries=_patient()))
    assert session.get(f"{url}/ready", timeout=30).status_code == 200


def _patient() -> Any:
    from urllib3.util import Retry

    return Retry(total=12, connect=12, backoff_factor=0.1, status_forcelist=(503,))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    more = {
        "STANDIN_STEP_SECONDS": STEP_S,
        "HTTP_PORT": str(port),
        "HTTP_API_KEY": KEY,
        "HTTP_LINE": "3",
        "MAX_INPUT_BYTES": "2000000",
    }
    more |= {"CONCURRENCY": "1", "WEBHOOK_SECRET": SECRET, "ALLOW_HOSTS": "127.0.0.1"}
    with WorkerProcess(["-m", "worker", "serve"], environment(folder, more), folder) as process:
        wait_ready(process, f"http://127.0.0.1:{port}")
        yield Endpoint(f"http://127.0.0.1:{port}", api_key=KEY)
        process.terminate()
        assert process.wait(30) == 0, process.log
        process.assert_nothing_left()


def test_a_job_is_run_and_its_pictures_are_saved(served: Endpoint, tmp_path: Path) -> None:
    answer = served.runsync({**JOB, "batch_size": 2})
    assert answer.seeds == [5, 6]
    assert answer["worker"]["backend"] == "a1111"
    paths = answer.save(tmp_path / "pictures")
    assert [path.name for path in paths] == ["001-5.png", "002-6.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_a_mistake_is_an_exception_with_its_code_and_the_fields(served: Endpoint) -> None:
    with pytest.raises(JobFailed, match="stepz") as caught:
        served.runsync({**JOB, "stepz": 3})
    assert (caught.value.code, caught.value.fault, caught.value.retryable) == ("invalid_input", "client", False)
    assert caught.value.details["problems"][0]["path"] == "stepz"


def test_a_job_tells_how_far_it_is_and_then_its_answer(served: Endpoint) -> None:
    job = served.run(LONG)
    states = list(job.stream(timeout=60))
    percents = [state.progress["percent"] for state in states if "percent" in state.progress]
    assert percents
    assert percents == sorted(percents)
    assert states[-1].status == "COMPLETED"
    assert states[-1].ran_ms is not None
    assert job.state.answer().seeds == [5]
    assert served.job(job.id).wait().seeds == [5]


def test_pictures_are_saved_as_they_are_made(served: Endpoint, tmp_path: Path) -> None:
    job = served.run({**JOB, "steps": 10, "n_iter": 3, "stream": True})
    early, paths = [], []
    for picture in job.pictures(timeout=60):
        paths.append(picture.save(tmp_path))
        early.append(not job.refresh().over)
    assert [path.name for path in paths] == ["001-5.png", "002-6.png", "003-7.png"]
    assert early[0]
    answer = job.state.answer()
    assert [path.read_bytes() for path in paths] == answer.pictures()
    assert answer["streamed"] == 3


def test_why_a_prompt_has_no_picture_is_streamed_too(served: Endpoint) -> None:
    fields = {name: value for name, value in JOB.items() if name != "prompt"}
    job = served.run({**fields, "prompts": ["a", "b <lora:nope:1>"], "stream": True})
    good, bad = job.pictures(timeout=60)
    assert good.error is None
    assert bad.error is not None
    assert bad.error.code == "invalid_input"
    with pytest.raises(JobFailed, match="nope"):
        bad.data()


def test_a_job_that_runs_and_one_that_waits_can_be_cancelled(served: Endpoint) -> None:
    running, waiting = served.run(LONG), served.run({**LONG, "seed": 6})
    assert waiting.cancel().status == "CANCELLED"
    assert running.cancel().status == "CANCELLED"
    with pytest.raises(JobCancelled):
        running.wait()
    assert served.runsync(JOB).seeds == [5]


def test_a_full_line_says_try_again(served: Endpoint) -> None:
    jobs = [served.run({**LONG, "seed": seed}) for seed in range(4)]
    answer = requests.post(
        f"{served.url}/run", json={"input": JOB}, headers={"Authorization": f"Bearer {KEY}"}, timeout=30
    )
    assert answer.status_code == 429
    assert "Retry-After" in answer.headers
    for job in reversed(jobs):
        job.cancel()


def test_who_has_no_key_is_refused_and_probes_need_none(served: Endpoint) -> None:
    with pytest.raises(EndpointError, match="HTTP_API_KEY") as caught:
        Endpoint(served.url, api_key="wrong").run(JOB)
    assert caught.value.status == 401
    health = requests.get(f"{served.url}/health", timeout=10).json()
    assert health["state"] in {"ready", "busy"}
    assert set(health["jobs"]) == {"completed", "failed", "cancelled", "inProgress", "inQueue"}


def test_the_key_for_runpod_goes_to_runpod_alone() -> None:
    assert key_name("abc123") == key_name("https://api.runpod.ai/v2/abc123") == "RUNPOD_API_KEY"
    assert key_name("http://127.0.0.1:8000") == key_name("https://api.runpod.ai.example.com") == "HTTP_API_KEY"
    assert key_name("http://[") == "HTTP_API_KEY"


def test_a_key_that_no_header_can_carry_is_named_as_such(served: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="ASCII"):
        Endpoint("abc123", api_key="“key”")
    (tmp_path / "job.json").write_text(json.dumps(JOB), encoding="utf-8")
    told = invoke("submit", "job.json", "--endpoint", served.url, cwd=tmp_path, HTTP_API_KEY="“key”")
    assert (told.exit_code, "HTTP_API_KEY" in told.stderr, "Traceback" in told.stderr) == (2, True, False)


def test_whoever_takes_any_2xx_for_ready_asks_for_ready(served: Endpoint) -> None:
    assert requests.get(f"{served.url}/ready", timeout=10).status_code == 200


def test_an_id_stands_for_one_job_only(served: Endpoint) -> None:
    assert served.run(JOB, id="only").wait().seeds == [5]
    with pytest.raises(EndpointError, match="another job") as caught:
        served.run({**JOB, "seed": 6}, id="only")
    assert caught.value.status == 409


@pytest.mark.parametrize(
    "more",
    [
        *(
            {"id": 7},
            {"id": "a/b"},
            {"id": ".."},
            {"id": "x" * 200},
            {"webhook": 7},
            {"webhook": "ftp://x"},
            {"webhook": "http://["},
        ),
        *(
            {"webhook": "http://x y"},
            {"webhook": "https://:80"},
            {"webhook": "http://a:99999"},
            {"policy": []},
            {"policy": {"executionTimeout": "5000"}},
            {"policy": {"executionTimeout": -1}},
        ),
    ],
)
def test_what_can_be_no_id_webhook_or_policy_is_refused(served: Endpoint, more: dict[str, Any]) -> None:
    with pytest.raises(EndpointError, match=next(iter(more))) as caught:
        served.run(JOB, **more)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("DELETE", "", 405), ("GET", "nope", 404), ("GET", "run", 405), ("PUT", "status/x", 405)],
)
def test_whatever_is_asked_the_answer_is_json(served: Endpoint, method: str, path: str, status: int) -> None:
    answer = requests.request(method, f"{served.url}/{path}", timeout=10)
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"bearer {KEY}", 404),
        (basic("user", KEY), 404),
        (basic("", KEY), 404),
        (KEY, 401),
        (basic("x", "y"), 401),
        ("", 401),
    ],
)
def test_the_key_comes_as_a_bearer_or_as_the_password_of_basic(served: Endpoint, header: str, status: int) -> None:
    answer = requests.get(f"{served.url}/status/none", headers={"Authorization": header}, timeout=10)
    assert answer.status_code == status
    if status == 401:
        assert "Bearer" in answer.headers["WWW-Authenticate"]
        assert 'Basic realm="' in answer.headers["WWW-Authenticate"]


def test_the_key_has_a_header_of_its_own_beside_the_one_of_a_platform(served: Endpoint) -> None:
    headers = {"Authorization": "Bearer rpa_THEPLATFORMS", "X-API-Key": KEY}
    assert requests.get(f"{served.url}/status/none", headers=headers, timeout=10).status_code == 404
    assert requests.get(f"{served.url}/status/none?api_key={KEY}", timeout=10).status_code == 401, "not switched on"


@pytest.mark.parametrize(
    ("body", "status"), [(b"{", 400), (b"[]", 400), (b'{"prompt": 1}', 400), (b'{"input": "' + b"x" * 2_000_001, 413)]
)
def test_what_is_no_job_is_refused(served: Endpoint, body: bytes, status: int) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    assert requests.post(f"{served.url}/run", data=body, headers=headers, timeout=30).status_code == status


def test_the_same_id_is_the_same_job(served: Endpoint) -> None:
    jobs = [served.run(JOB, id="mine") for _ in range(2)]
    assert jobs[0].id == jobs[1].id == "mine"
    assert jobs[1].wait().seeds == [5]
    assert served.call("GET", "status/mine")["status"] == "COMPLETED"
    with pytest.raises(EndpointError, match="no such job"):
        served.job("never-heard-of")


def test_a_client_that_does_not_want_to_wait_any_longer_is_told(served: Endpoint) -> None:
    job = served.run(LONG)
    with pytest.raises(JobTimedOut):
        job.wait(timeout=0.1)
    job.cancel()


def test_results_are_posted_signed_to_the_address_that_the_job_names(served: Endpoint) -> None:
    posted: list[Request] = []
    again = threading.Event()

    def take(request: Request) -> Reply:
        posted.append(request)
        if len(posted) == 1:
            return Reply(500)
        again.set()
        return Reply(200)

    with serve(take) as receiver:
        job = served.run(JOB, webhook=f"{receiver.url}/result")
        job.wait()
        assert again.wait(20)
    state = read_webhook(SECRET, posted[1].headers, posted[1].body)
    assert (state.id, state.status) == (job.id, "COMPLETED")
    assert state.answer().seeds == [5]


def test_coroutines_do_the_same(served: Endpoint) -> None:
    async def play() -> tuple[list[int], list[str]]:
        endpoint = AsyncEndpoint(served.url, api_key=KEY)
        answer = await endpoint.runsync(JOB)
        job = await endpoint.run({**JOB, "seed": 9})
        statuses = [state.status async for state in job.stream()]
        assert (await job.wait()).seeds == [9]
        return answer.seeds, statuses

    seeds, statuses = asyncio.run(play())
    assert seeds == [5]
    assert statuses[-1] == "COMPLETED"


def test_a_client_waits_no_longer_than_it_wants_to_and_can_find_its_job_again(served: Endpoint) -> None:
    first = served.run(LONG)
    for timeout in (0.2, 1.2):
        began = time.monotonic()
        with pytest.raises(JobTimedOut) as caught:
            served.runsync({**LONG, "seed": 8}, timeout=timeout)
        assert time.monotonic() - began < timeout + stretched(1)
        assert served.job(caught.value.job_id).cancel().status == "CANCELLED"
    first.cancel()


def test_many_coroutines_wait_at_once_and_one_that_is_cancelled_stops_waiting(served: Endpoint) -> None:
    async def play() -> list[list[int]]:
        endpoint = AsyncEndpoint(served.url, api_key=KEY)
        job = await endpoint.run(LONG)
        waiting = asyncio.ensure_future(job.wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await job.cancel()).status == "CANCELLED"
        answers = await asyncio.gather(*(endpoint.runsync({**JOB, "seed": seed}) for seed in range(3)))
        return [answer.seeds for answer in answers]

    assert asyncio.run(play()) == [[0], [1], [2]]


@pytest.mark.parametrize("where", ["", "abc/def", "ftp://x", "https://", "http://x y", "abc?x"])
def test_what_can_be_no_endpoint_is_refused_at_once(where: str) -> None:
    with pytest.raises(EndpointError, match="neither"):
        Endpoint(where)


def test_submit_says_what_went_wrong_before_a_job_is_paid_for(served: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(JOB), encoding="utf-8")
    before = served.health()["jobs"]
    for arguments in (["--endpoint", ""], ["--endpoint", served.url, "--out", "job.json"]):
        told = invoke("submit", "job.json", *arguments, cwd=tmp_path, HTTP_API_KEY=KEY)
        assert (told.exit_code, "Traceback" in told.stderr) == (2, False), told.stderr
    assert served.health()["jobs"] == before


def test_submit_cancels_what_takes_too_long(served: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(LONG), encoding="utf-8")
    before = served.health()["jobs"]["cancelled"]
    told = invoke("submit", "job.json", "--endpoint", served.url, "--timeout", "0.3", cwd=tmp_path, HTTP_API_KEY=KEY)
    assert (told.exit_code, json.loads(told.stdout)["error_code"]) == (1, "timed_out")
    assert served.health()["jobs"]["cancelled"] == before + 1


def test_submit_leaves_the_pictures_and_tells_the_answer(served: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"input": JOB}), encoding="utf-8")
    done = submit(tmp_path, "job.json", "--endpoint", served.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == ["out/001-5.png"]
    assert (tmp_path / "out" / "001-5.png").read_bytes().startswith(b"\x89PNG")
    kept = json.loads((tmp_path / "out" / "answer.json").read_text(encoding="utf-8"))
    assert (kept["images"], kept["seeds"]) == (["001-5.png"], [5])
    assert done.stderr.splitlines()[-1] == "Picture: out/001-5.png"


def test_the_address_itself_lists_what_is_there_for_programs_and_for_people(served: Endpoint) -> None:
    told = requests.get(served.url, timeout=10).json()
    assert set(told["paths"]) == {"/runsync", "/sdapi/v1", "/v1", "/docs", "/health"}
    assert told["try"].startswith(f"curl -sS {served.url}/runsync ")
    page = requests.get(served.url, headers={"Accept": "text/html,*/*"}, timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    links = re.findall(r'href="([^"]+)"', page.text)
    assert links == ["docs", "health"]
    assert [requests.get(f"{served.url}/{link}", timeout=10).status_code for link in links] == [200, 200]


def test_a_host_that_a_client_made_up_is_shown_as_text_alone(served: Endpoint) -> None:
    headers = {"Accept": "text/html", "Host": 'x"><script>alert(1)</script>'}
    assert "<script>" not in requests.get(served.url, headers=headers, timeout=10).text


def test_submit_tells_a_failed_job_and_a_missing_endpoint(served: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({**JOB, "stepz": 1}), encoding="utf-8")
    failed = invoke("submit", "job.json", "--endpoint", served.url, cwd=tmp_path, HTTP_API_KEY=KEY)
    assert failed.exit_code == 1
    assert json.loads(failed.stdout)["error_code"] == "invalid_input"
    gone = invoke("submit", "job.json", "--endpoint", f"http://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert gone.exit_code == 1
    assert "can't be reached" in json.loads(gone.stdout)["error"]


def submit(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", "submit", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HTTP_API_KEY": KEY, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
