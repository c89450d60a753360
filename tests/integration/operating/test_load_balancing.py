"""The worker as a load-balancing endpoint of RunPod starts it: the image's own command and the platform's variables."""

from __future__ import annotations

import base64
import io
import json
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests
from PIL import Image

from tests.support.pace import stretched
from tests.support.ports import free_port
from tests.support.webui_dir import environment
from tests.support.workerproc import ROOT, WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOB: dict[str, Any] = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 5}
HANDLER = [str(ROOT / "handler.py")]


def variables(folder: Path, port: int, **more: str) -> dict[str, str]:
    platform = {"RUNPOD_ENDPOINT_ID": "abc123", "RUNPOD_POD_ID": "pod-7", "PORT": str(port), "PORT_HEALTH": str(port)}
    found = {**environment(folder), **platform, **more}
    found.pop("PATH")
    return found


def poll(url: str) -> int:
    """The status of a probe, 0 where nobody listens."""
    try:
        return requests.get(url, timeout=5).status_code
    except requests.ConnectionError:
        return 0


def wait_for(url: str, *statuses: int, seconds: float = 60.0) -> list[int]:
    """Poll until one of `statuses` comes; return all that came before it, without repeats."""
    seen: list[int] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        status = poll(url)
        if status in statuses:
            return seen
        if not seen or seen[-1] != status:
            seen.append(status)
        time.sleep(0.02)  # a server wakes nobody who asks it
    raise AssertionError(f"{url} gave {seen}")


@pytest.fixture(scope="module")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, WorkerProcess]]:
    folder, port = tmp_path_factory.mktemp("balanced"), free_port()
    with WorkerProcess(HANDLER, variables(folder, port, STANDIN_STEP_SECONDS="0.02"), folder) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/ping", 200)
        yield url, process
        process.terminate()
        assert process.wait(30) == 0, process.log
        process.assert_nothing_left()


def test_the_port_is_open_before_the_model_is_loaded_and_says_so(tmp_path: Path) -> None:
    port = free_port()
    more = {"STANDIN_LOAD_SECONDS": "4", "HEALTH_CHECK_PATH": "/health"}
    with WorkerProcess(HANDLER, variables(tmp_path, port, **more), tmp_path) as process:
        url = f"http://127.0.0.1:{port}"
        assert set(wait_for(f"{url}/ping", 204)) <= {0}
        opened = time.monotonic()
        assert poll(f"{url}/health") == 204, "the path that HEALTH_CHECK_PATH names"
        assert requests.head(f"{url}/health", timeout=5).status_code == 204
        assert poll(f"{url}/ready") == 503
        early = requests.post(f"{url}/run", json={"input": JOB}, timeout=5)
        assert (early.status_code, early.headers["Retry-After"]) == (503, "5")
        assert set(wait_for(f"{url}/health", 200)) <= {204}
        assert time.monotonic() - opened > 3, "it was open while the model loaded"
        assert requests.head(f"{url}/ping", timeout=5).status_code == 200
        addresses = {
            connection.laddr
            for connection in psutil.Process(process.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert addresses == {("0.0.0.0", port)}
        assert "listening" in process.log
        assert "set HTTP_API_KEY" not in process.log, "the platform asks for its own key"


def test_sigterm_while_the_model_loads_ends_it_at_once(tmp_path: Path) -> None:
    port = free_port()
    with WorkerProcess(HANDLER, variables(tmp_path, port, STANDIN_LOAD_SECONDS="60"), tmp_path) as process:
        wait_for(f"http://127.0.0.1:{port}/ping", 204)
        asked = time.monotonic()
        process.terminate()
        assert process.wait(20) == 0, process.log
        assert time.monotonic() - asked < stretched(10)
        process.assert_nothing_left()


def test_a_webui_that_does_not_start_ends_it_with_a_failure(tmp_path: Path) -> None:
    port = free_port()
    settings = variables(tmp_path, port, DEFAULT_CHECKPOINT="nowhere.safetensors")
    with WorkerProcess(HANDLER, settings, tmp_path) as process:
        assert process.wait(60) == 1, process.log
        assert "nowhere" in process.log
        process.assert_nothing_left()


def test_a1111s_own_api_is_there_as_well(balanced: tuple[str, WorkerProcess]) -> None:
    url, _ = balanced
    drawn = requests.post(f"{url}/sdapi/v1/txt2img/", json=JOB, timeout=60).json()
    assert base64.b64decode(drawn["images"][0]).startswith(b"\x89PNG")
    assert json.loads(drawn["info"])["seed"] == 5
    assert requests.get(f"{url}/sdapi/v1/progress", timeout=10).json()["state"]["job_count"] == 0


def test_jobs_are_answered_with_the_workers_id(balanced: tuple[str, WorkerProcess]) -> None:
    url, _ = balanced
    told = requests.post(f"{url}/runsync", json={"input": JOB}, timeout=60).json()
    assert (told["status"], told["workerId"], told["output"]["seeds"]) == ("COMPLETED", "pod-7", [5])


@pytest.mark.slow
def test_a_second_port_for_health_works_as_well(tmp_path: Path) -> None:
    port, health = free_port(), free_port()
    settings = variables(tmp_path, port, PORT_HEALTH=str(health), HEALTH_CHECK_PATH="/healthz")
    with WorkerProcess(HANDLER, settings, tmp_path):
        for each in (port, health):
            wait_for(f"http://127.0.0.1:{each}/healthz", 200)


def test_requests_and_answers_may_be_as_large_as_the_platform_carries(balanced: tuple[str, WorkerProcess]) -> None:
    url, _ = balanced
    noise = Image.frombytes("RGB", (900, 900), random.Random(1).randbytes(900 * 900 * 3))
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    upscale = {"action": "upscale", "image": base64.b64encode(buffer.getvalue()).decode(), "scale": 2}
    answer = requests.post(f"{url}/runsync", json={"input": upscale}, timeout=100)
    assert answer.json()["status"] == "COMPLETED", answer.text[:500]
    assert len(answer.content) > 9_500_000
    padded = json.dumps({"input": JOB}) + " " * 25_000_000
    assert requests.post(f"{url}/runsync", data=padded, timeout=60).json()["status"] == "COMPLETED"
    refused = requests.post(f"{url}/runsync", data=" " * 30_000_001, timeout=60)
    assert (refused.status_code, "MAX_INPUT_BYTES" in refused.json()["error"]) == (413, True)


def test_refused_bodies_leave_nothing_behind(balanced: tuple[str, WorkerProcess]) -> None:
    url, process = balanced
    worker = psutil.Process(process.pid)
    body = b'{"input": {"prompt": [' + b"[]," * 150_000 + b"[]]}}"
    requests.post(f"{url}/runsync", data=body, timeout=60)
    before = worker.memory_info().rss
    for _ in range(8):
        told = requests.post(f"{url}/runsync", data=body, timeout=60).json()
        assert told["output"]["error_code"] == "invalid_input"
    assert worker.memory_info().rss - before < 30_000_000, "a parsed body is 9 MB and more"


def test_after_sigterm_it_is_out_of_the_pool_and_finishes_what_runs(tmp_path: Path) -> None:
    port = free_port()
    with WorkerProcess(HANDLER, variables(tmp_path, port, STANDIN_STEP_SECONDS="0.05"), tmp_path) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/ping", 200)
        job = requests.post(f"{url}/run", json={"input": {**JOB, "steps": 60}}, timeout=10).json()["id"]
        process.terminate()
        wait_for(f"{url}/ping", 503)
        assert requests.post(f"{url}/run", json={"input": JOB}, timeout=10).status_code == 503
        statuses = set()
        while status := requests.get(f"{url}/status/{job}", timeout=10).json()["status"]:
            statuses.add(status)
            if status == "COMPLETED":
                break
        assert statuses == {"IN_PROGRESS", "COMPLETED"}
        assert process.wait(30) == 0, process.log
        process.assert_nothing_left()


def test_a_port_that_is_taken_is_named_before_anything_starts(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        with WorkerProcess(HANDLER, variables(tmp_path, port), tmp_path) as process:
            assert process.wait(30) == 1
            assert f"port {port}" in process.log


def test_the_sdks_option_for_several_processes_is_refused_before_anything_starts(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *HANDLER, "--rp_serve_api", "--rp_api_concurrency", "4"],
        cwd=tmp_path,
        env={**environment(tmp_path), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "worker serve" in done.stderr
    assert "spawn" not in done.stderr
