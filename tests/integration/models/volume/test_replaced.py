"""A model file is replaced by another of its name while the WebUI has it in use: A1111 uses the old one on."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.integration.conftest import Worker
from tests.integration.webui.test_elsewhere import host_of
from tests.support import models
from tests.support.pictures import png
from tests.support.rig import pixels
from tests.support.standin import running_standin
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR_NS = 3600 * 10**9


@pytest.fixture(params=["started by the worker", "somebody else's"])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Worker]:
    if request.param == "started by the worker":
        with running_host(tmp_path) as host:
            yield Worker(host)
        return
    with running_standin(tmp_path) as webui:
        shared = {"DEFAULT_CHECKPOINT": "Deliberate_v6", "EMBEDDING_DIR": str(tmp_path / "models/embeddings")}
        host = host_of(webui, tmp_path / "here", **shared)
        host.spawn()
        host.wait_ready()
        yield Worker(host)
        host.close()


def _age(file: Path, hours: int) -> None:
    """Give a file a time of its own, as a replacement has."""
    moment = file.stat().st_mtime_ns + hours * HOUR_NS
    os.utime(file, ns=(moment, moment))


def _replace(file: Path) -> None:
    """Put another file in the place of one, without a word to anybody."""
    content = file.read_bytes()
    other = file.with_suffix(".new")
    other.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    other.replace(file)
    _age(file, 1)


def _asked(worker: Worker) -> list[str]:
    entries = requests.get(f"{worker.url}/standin/requests", timeout=10).json()
    return [
        name for entry in entries if (name := entry["path"].rpartition("/")[2]) in {"txt2img", "refresh-embeddings"}
    ]


@pytest.mark.parametrize("place", ["negative_prompt", "prompt"])
def test_a_replaced_embedding_is_read_again(worker: Worker, tmp_path: Path, place: str) -> None:
    job = {"prompt": "a cat", place: "a cat, goodemb"}
    first, again = (worker.run(**job)["images"][0] for _ in range(2))
    assert pixels(first) == pixels(again)
    plain = worker.run()["images"][0]
    _replace(tmp_path / "models/embeddings/goodemb.safetensors")
    worker.reset()
    assert pixels(worker.run()["images"][0]) == pixels(plain)
    assert _asked(worker) == ["txt2img"], "a job without it is not held up"
    other = worker.run(**job)["images"][0]
    assert pixels(other) != pixels(first)
    assert _asked(worker) == ["txt2img", "refresh-embeddings", "txt2img", "txt2img"], "a picture of other words between"
    assert pixels(worker.run(**job)["images"][0]) == pixels(other)


def test_an_embedding_that_was_replaced_before_its_first_use_is_read_again(tmp_path: Path) -> None:
    with running_host(tmp_path) as host:
        worker = Worker(host)
        _replace(tmp_path / "models/embeddings/goodemb.safetensors")
        worker.run(prompt="a cat, goodemb")
        assert "refresh-embeddings" in _asked(worker)


def test_prompts_that_are_kept_for_the_second_pass_are_made_anew_too(tmp_path: Path) -> None:
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    with running_host(tmp_path) as host:
        worker = Worker(host)
        worker.run(loras=["add_detail"], **hires)
        _replace(tmp_path / "models/loras/add_detail.safetensors")
        worker.reset()
        worker.run(loras=["add_detail"], **hires)
        assert [body.get("enable_hr") for body in worker.sent()] == [True, True]


def test_other_models_of_a_request_that_were_replaced_are_loaded_by_a_new_process(tmp_path: Path) -> None:
    control, extension = tmp_path / "control", tmp_path / "webui/extensions/sd-webui-controlnet"
    extension.mkdir(parents=True)
    models.checkpoint(control / "control_v11p_sd15_canny.safetensors")
    settings = {"STANDIN_EXTENSIONS": "controlnet", "CONTROLNET_DIR": str(control), "RESTARTS": "9"}
    settings["WEBUI_ARGS"] = f"--data-dir {tmp_path / 'webui'}"
    other = tmp_path / "models/checkpoints/Other_v1.safetensors"
    unit = {"image": base64.b64encode(png()).decode(), "module": "canny", "model": "control_v11p_sd15_canny"}
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    jobs: list[tuple[Path, dict[str, Any]]] = [
        (other, {"refiner_checkpoint": "Other_v1", "refiner_switch_at": 0.5}),
        (other, {**hires, "hr_checkpoint_name": "Other_v1"}),
        (control / "control_v11p_sd15_canny.safetensors", {"controlnet": [unit]}),
    ]
    with running_host(tmp_path, settings) as host:
        worker = Worker(host)
        for file, job in jobs:
            first, pid = worker.run(**job), host.backend.pid
            assert "images" in first, first
            assert "images" in worker.run(**job)
            assert host.backend.pid == pid
            _age(file, 1)
            assert worker.run(**job)["images"] == first["images"]
            assert host.backend.pid != pid, f"{job} goes on with the old file"


def test_somebody_elses_webui_encodes_prompts_anew_for_a_replaced_checkpoint_of_the_second_pass(tmp_path: Path) -> None:
    hires = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    with running_standin(tmp_path) as webui:
        host = host_of(webui, tmp_path / "here")
        host.spawn()
        host.wait_ready()
        worker = Worker(host)
        worker.run(**hires, hr_checkpoint_name="Other_v1")
        _age(tmp_path / "models/checkpoints/Other_v1.safetensors", 1)
        worker.reset()
        assert "images" in worker.run(**hires, hr_checkpoint_name="Other_v1")
        second_passes = [body["prompt"] for body in worker.sent() if body.get("enable_hr")]
        host.close()
    assert len(set(second_passes)) == 2, "another prompt takes the place of the one that the old file has encoded"


def test_a_controlnet_model_that_somebody_elses_webui_keeps_is_refused_until_that_is_restarted(tmp_path: Path) -> None:
    control, data = tmp_path / "control", tmp_path / "webui"
    (data / "extensions/sd-webui-controlnet").mkdir(parents=True)
    models.checkpoint(control / "control_v11p_sd15_canny.safetensors")
    unit = {"image": base64.b64encode(png()).decode(), "module": "canny", "model": "control_v11p_sd15_canny"}
    flags = ["--data-dir", str(data), "--controlnet-dir", str(control)]
    with running_standin(tmp_path, env={"STANDIN_EXTENSIONS": "controlnet"}, args=flags) as webui:
        host = host_of(webui, tmp_path / "here", CONTROLNET_DIR=str(control))
        host.spawn()
        host.wait_ready()
        worker = Worker(host)
        assert "images" in worker.run(controlnet=[unit])
        _age(control / "control_v11p_sd15_canny.safetensors", 1)
        for _ in range(2):
            answer = worker.run(controlnet=[unit])
            assert answer["error_code"] == "webui_error", answer
            assert "control_v11p_sd15_canny.safetensors" in answer["error"]
            assert "Restart the WebUI" in answer["details"]["hint"]
        assert "images" in worker.run()
        host.close()


def test_a_replaced_lora_is_read_again(worker: Worker, tmp_path: Path) -> None:
    file = tmp_path / "models/loras/add_detail.safetensors"
    first, again = (worker.run(loras=["add_detail"])["images"][0] for _ in range(2))
    assert pixels(first) == pixels(again)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    _age(file, 1)
    other = worker.run(loras=["add_detail"])
    assert pixels(other["images"][0]) != pixels(first)
    assert pixels(worker.run(loras=["add_detail"])["images"][0]) == pixels(other["images"][0])


def test_a_lora_replaced_by_an_older_file_is_read_again(tmp_path: Path) -> None:
    with running_host(tmp_path) as host:
        worker, pid = Worker(host), host.backend.pid
        worker.run(loras=["add_detail"])
        _age(tmp_path / "models/loras/add_detail.safetensors", -1)
        assert "images" in worker.run(loras=["add_detail"])
        assert host.backend.pid != pid


def test_a_replaced_checkpoint_is_loaded_again(tmp_path: Path) -> None:
    with running_host(tmp_path) as host:
        worker, pid = Worker(host), host.backend.pid
        first = worker.run()
        _age(tmp_path / "models/checkpoints/Deliberate_v6.safetensors", 1)
        assert worker.run()["images"] == first["images"]
        assert host.backend.pid != pid
        pid = host.backend.pid
        assert worker.run()["images"] == first["images"]
        assert host.backend.pid == pid
