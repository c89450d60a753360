"""A WebUI that somebody else runs dies, hangs, or has its model in pieces: this worker can't restart it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.integration.webui.test_elsewhere import host_of
from tests.support import models
from tests.support.pace import stretched
from tests.support.ports import free_port
from tests.support.rig import pixels
from tests.support.standin import running_standin
from worker.webui import backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.standin import StandIn

LONG = {"steps": 100, "prompt": "a long job"}
WEIGHTED = {"prompt": "a (fluffy:1.4) cat", "seed": 3}


@pytest.fixture
def webui(tmp_path: Path) -> Iterator[StandIn]:
    with running_standin(tmp_path / "there", env={"STANDIN_STEP_SECONDS": "0.1"}, args=_port()) as running:
        yield running
        running.process.kill()  # one that is stopped would not hear of its end


@contextmanager
def worker_of(webui: StandIn, folder: Path, **more: str) -> Iterator[Worker]:
    host = host_of(webui, folder / "here", **more)
    host.spawn()
    try:
        host.wait_ready()
        yield Worker(host)
    finally:
        host.close()


def cut_short(folder: Path) -> None:
    """Put a checkpoint there that can't be read."""
    models.truncated(models.checkpoint(folder / "Cut_short.safetensors"))


def is_in_pieces(webui: StandIn) -> bool:
    """Whether two spellings of one weight make two pictures."""
    word, small = time.time_ns(), {"steps": 1, "width": 64, "height": 64, "seed": 1}
    two = [webui.post("txt2img", {"prompt": f"{cat} {word}", **small}) for cat in ("((a cat))", "(a cat:1.21)")]
    return len({pixels(answer.json()["images"][0]) for answer in two}) > 1


def _port() -> list[str]:
    return ["--port", str(free_port())]


def _while_sampling(webui: StandIn, act: Callable[[], object]) -> threading.Thread:
    """Act in the middle of the long job."""

    def watch() -> None:
        while True:
            state = webui.get("progress").json()["state"]
            if state["sampling_steps"] == LONG["steps"] and state["sampling_step"]:
                break
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_job_whose_webui_is_killed_is_answered_soon_and_so_is_the_next(webui: StandIn, tmp_path: Path) -> None:
    with worker_of(webui, tmp_path) as worker:
        _while_sampling(webui, webui.process.kill)
        began = time.monotonic()
        answer = worker.run(**LONG)
        assert time.monotonic() - began < stretched(20)
        assert answer["error_code"] == "webui_unreachable", answer
        assert answer["retryable"] is True
        assert worker.host.health()["state"] == "recovering"
        began = time.monotonic()
        assert worker.run(prompt="the next")["error_code"] in {"webui_unreachable", "webui_crashed"}
        assert time.monotonic() - began < stretched(20)


def test_a_webui_that_was_started_again_is_used_again(webui: StandIn, tmp_path: Path) -> None:
    with worker_of(webui, tmp_path) as worker:
        right = pixels(worker.run(**WEIGHTED)["images"][0])
        webui.process.kill()
        webui.process.wait()
        port = webui.url.rpartition(":")[2]
        with running_standin(tmp_path / "there", args=["--port", port]):
            assert pixels(worker.run(**WEIGHTED)["images"][0]) == right


@pytest.mark.slow
def test_a_job_whose_webui_hangs_is_answered_within_a_minute(webui: StandIn, tmp_path: Path) -> None:
    with worker_of(webui, tmp_path) as worker:
        _while_sampling(webui, lambda: webui.process.send_signal(signal.SIGSTOP))
        began = time.monotonic()
        answer = worker.run(**LONG)
        assert time.monotonic() - began < stretched(60)
        assert answer["error_code"] in {"generation_stalled", "webui_unreachable"}, answer
        assert worker.host.health()["state"] == "recovering"


@pytest.mark.slow
def test_an_upscale_and_a_listing_whose_webui_hangs_are_answered_within_a_minute(
    webui: StandIn, tmp_path: Path
) -> None:
    with worker_of(webui, tmp_path) as worker:
        picture = worker.run()["images"][0]
        webui.process.send_signal(signal.SIGSTOP)
        for job in ({"type": "webui.get", "path": "/sdapi/v1/samplers"}, _upscale(picture)):
            began = time.monotonic()
            answer = worker.run_job({"input": job})
            assert time.monotonic() - began < stretched(60)
            assert "error_code" in answer, answer


def _upscale(picture: str) -> dict[str, Any]:
    return {"type": "upscale", "image": picture, "upscaler": "Lanczos", "scale": 2}


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_job_is_not_waited_for_beyond_its_deadline(webui: StandIn, tmp_path: Path, how: signal.Signals) -> None:
    with worker_of(webui, tmp_path) as worker:
        _while_sampling(webui, lambda: webui.process.send_signal(how))
        began = time.monotonic()
        answer = worker.run(**LONG, timeout_s=6)
        assert "error_code" in answer
        assert time.monotonic() - began < stretched(8)


def test_the_first_job_has_the_stall_limit_of_any_other(webui: StandIn, tmp_path: Path) -> None:
    with worker_of(webui, tmp_path, STALL_TIMEOUT_S="1", RERUNS="0", IDLE_TIMEOUT_S="1") as worker:
        webui.fault("hang", step=0)
        began = time.monotonic()
        answer = worker.run()
        assert answer["error_code"] == "generation_stalled", answer
        assert time.monotonic() - began < stretched(10)
        webui.reset()


def test_after_a_checkpoint_that_can_not_be_read_the_next_picture_is_right(webui: StandIn, tmp_path: Path) -> None:
    cut_short(tmp_path / "there" / "models" / "checkpoints")
    webui.post("refresh-checkpoints", {})
    with worker_of(webui, tmp_path) as worker:
        right = pixels(worker.run(**WEIGHTED)["images"][0])
        answer = worker.run(checkpoint="Cut_short")
        assert answer["error_code"] == "webui_error"
        assert "Cut_short.safetensors" in answer["error"]
        assert pixels(worker.run(**{**WEIGHTED, "prompt": "a (fluffy:1.4) dog"})["images"][0]) != right
        assert pixels(worker.run(**WEIGHTED)["images"][0]) == right
        assert worker.host.health()["state"] == "ready"
    assert not is_in_pieces(webui)


@pytest.mark.parametrize("torch", ["with CUDA", "without CUDA"])
def test_after_a_vae_that_does_not_fit_the_next_picture_is_right(tmp_path: Path, torch: str) -> None:
    folders = models.model_folders(tmp_path / "there" / "models")
    models.bad_shape_vae(tmp_path / "there" / "models" / "vae" / "flux_ae.safetensors")
    environment = {"STANDIN_TORCH_WITHOUT_CUDA": "1"} if torch == "without CUDA" else {}
    with (
        running_standin(tmp_path / "there", models=folders, env=environment) as webui,
        worker_of(webui, tmp_path) as worker,
    ):
        plain, right = pixels(worker.run()["images"][0]), pixels(worker.run(**WEIGHTED)["images"][0])
        answer = worker.run(vae="flux_ae")
        assert answer["error_code"] == "model_damaged", answer
        assert "flux_ae.safetensors" in answer["error"]
        again = worker.run(**{**WEIGHTED, "prompt": "a (fluffy:1.4) dog"})
        assert "images" in again, again
        assert pixels(worker.run()["images"][0]) == plain
        assert pixels(worker.run(**WEIGHTED)["images"][0]) == right
        assert worker.host.health()["state"] == "ready"


def test_a_model_in_pieces_that_makes_no_picture_at_all_is_put_together_while_jobs_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "EXTERNAL_WAIT_S", 0.3)  # of a WebUI that does not answer, which this one does
    folders = models.model_folders(tmp_path / "there" / "models")
    cut_short(tmp_path / "there" / "models" / "checkpoints")
    with (
        running_standin(
            tmp_path / "there", models=folders, env={"STANDIN_TORCH_WITHOUT_CUDA": "1", "STANDIN_LOAD_SECONDS": "0.7"}
        ) as webui,
        worker_of(webui, tmp_path) as worker,
    ):
        right = pixels(worker.run(**WEIGHTED)["images"][0])
        answer = worker.run(checkpoint="Cut_short")
        assert answer["error_code"] == "webui_error", answer
        assert "Cut_short.safetensors" in answer["error"]
        again = worker.run(**WEIGHTED)
        assert "images" in again, again
        assert pixels(again["images"][0]) == right
        assert worker.host.health()["state"] == "ready"


@pytest.mark.slow
def test_where_no_other_checkpoint_can_be_loaded_jobs_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "checkpoints"
    models.checkpoint(folder / "Only_v1.safetensors")
    cut_short(folder)
    flags = ["--ckpt-dir", str(folder), "--ckpt", str(folder / "Only_v1.safetensors")]
    with running_standin(tmp_path / "there", models=flags) as webui, worker_of(webui, tmp_path) as worker:
        assert "error" not in worker.run()
        worker.run(checkpoint="Cut_short")
        answer = worker.run(**WEIGHTED)
        assert answer["fault"] == "worker", answer
        assert "Cut_short.safetensors" in answer["error"]
        assert "in pieces" in answer["error"]
        assert worker.host.health()["state"] in {"recovering", "failed"}


def test_a_model_that_was_in_pieces_before_the_worker_came_is_put_together(webui: StandIn, tmp_path: Path) -> None:
    cut_short(tmp_path / "there" / "models" / "checkpoints")
    webui.post("refresh-checkpoints", {})
    with worker_of(webui, tmp_path) as worker:
        right = pixels(worker.run(**WEIGHTED)["images"][0])
    fresh = {**WEIGHTED, "prompt": "a (fluffy:1.4) cat"}
    broken = {"prompt": "", "steps": 1, "override_settings": {"sd_model_checkpoint": "Cut_short.safetensors"}}
    assert webui.post("txt2img", broken).status_code == 500
    with worker_of(webui, tmp_path) as worker:
        assert pixels(worker.run(**fresh)["images"][0]) == right
    assert not is_in_pieces(webui)


def test_a_lora_for_another_architecture_is_refused_by_what_the_webui_lists(webui: StandIn, tmp_path: Path) -> None:
    with worker_of(webui, tmp_path) as worker:
        answer = worker.run(loras=["for_sdxl"])
        assert answer["error_code"] == "incompatible_model", answer
        assert "SDXL" in answer["error"]


def _run(folder: Path, url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "worker", "run", "-"],
        env={**os.environ, "WEBUI_URL": url, "OUT_DIR": str(folder / "out"), "MODELS_DIR": str(folder / "models")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_port_that_nobody_opens_is_told_at_once_and_ends_the_worker_soon(tmp_path: Path) -> None:
    began = time.monotonic()
    with _run(tmp_path, f"http://127.0.0.1:{free_port()}") as process:
        out, log = process.communicate(json.dumps({"input": {"prompt": "a cat"}}), timeout=60)
    assert time.monotonic() - began < stretched(25)
    answer = json.loads(out)
    assert answer["error_code"] == "webui_boot_failed"
    assert "nothing accepts connections" in answer["error"]
    assert log.count("nothing accepts connections") >= 2


@pytest.mark.slow
def test_a_port_behind_which_nothing_answers_ends_the_worker_soon(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with _run(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}") as process:
            out, _ = process.communicate(json.dumps({"input": {"prompt": "a cat"}}), timeout=60)
    assert time.monotonic() - began < stretched(30)
    assert "answers nothing" in json.loads(out)["error"]


def test_a_run_ends_as_soon_as_it_has_its_answer(webui: StandIn, tmp_path: Path) -> None:
    with _run(tmp_path, webui.url) as process:
        _while_sampling(webui, lambda: webui.process.send_signal(signal.SIGSTOP))
        job = {"prompt": "a cat", "steps": 100, "width": 64, "height": 64, "timeout_s": 8}
        began = time.monotonic()
        out, _ = process.communicate(json.dumps({"input": job}), timeout=60)
    assert "error_code" in json.loads(out)
    assert time.monotonic() - began < stretched(16)
