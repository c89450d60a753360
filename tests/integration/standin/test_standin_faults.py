from __future__ import annotations

import base64
import io
import json
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests
from PIL import Image, ImageChops

from tests.support import models
from tests.support.standin import StandIn, command, running_standin, start
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOB = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 42}
LONG = {**JOB, "steps": 400}
SLOW_STEPS = {"STANDIN_STEP_SECONDS": "0.02"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running_standin(tmp_path_factory.mktemp("standin"), env=SLOW_STEPS) as running:
        yield running


@pytest.fixture
def standin(shared: StandIn) -> Iterator[StandIn]:
    yield shared
    shared.reset()


def pictures(answer: requests.Response) -> list[Image.Image]:
    assert answer.status_code == 200, answer.text
    return [Image.open(io.BytesIO(base64.b64decode(text))) for text in answer.json()["images"]]


def info(answer: requests.Response) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(answer.json()["info"])
    return data


def in_background(standin: StandIn, body: dict[str, Any]) -> tuple[threading.Thread, list[Any]]:
    """Starts a job and waits until it samples."""
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append(standin.post("txt2img", body))
        except requests.RequestException as error:
            answers.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_until(lambda: standin.get("progress").json()["state"]["sampling_step"] > 0)
    return thread, answers


def test_it_dies_at_boot_with_its_last_words(tmp_path: Path) -> None:
    fault = {"fault": "boot-exit", "code": 3, "message": "RuntimeError: no GPU"}
    environment = {"STANDIN_FAULTS": json.dumps(fault)}
    with pytest.raises(RuntimeError, match="RuntimeError: no GPU"):
        start(["--data-dir", str(tmp_path)], environment)


def test_an_unknown_flag_ends_it_as_the_real_one(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="unrecognized arguments: --no-such-flag"):
        start(["--data-dir", str(tmp_path), "--no-such-flag"], {})


def test_a_port_that_is_taken_ends_it(shared: StandIn, tmp_path: Path) -> None:
    port = shared.url.rsplit(":", 1)[1]
    with pytest.raises(RuntimeError, match="error while attempting to bind on address"):
        start(["--data-dir", str(tmp_path), "--port", port], {})


def test_while_the_model_loads_listings_answer_and_jobs_wait(tmp_path: Path) -> None:
    with running_standin(tmp_path, env={"STANDIN_FAULTS": "never-loads"}) as standin:
        assert standin.get("samplers").status_code == 200
        assert standin.get("progress").json()["progress"] == 0
        with pytest.raises(requests.Timeout):
            requests.post(f"{standin.url}/sdapi/v1/reload-checkpoint", timeout=0.3)
        standin.process.kill()


def test_a_job_sent_while_the_model_loads_is_answered_afterwards(tmp_path: Path) -> None:
    with running_standin(tmp_path, env={"STANDIN_FAULTS": "slow-load:seconds=0.3"}) as standin:
        assert info(standin.post("txt2img", JOB))["sd_model_name"] == "Deliberate_v6"


def test_a_failed_load_leaves_everything_up_but_the_model(tmp_path: Path) -> None:
    checkpoint = models.truncated(models.checkpoint(tmp_path / "ckpt/Cut.safetensors"))
    flags = ["--ckpt-dir", str(checkpoint.parent), "--ckpt", str(checkpoint)]
    with running_standin(tmp_path, models=flags) as standin:
        assert [item["title"] for item in standin.get("sd-models").json()] == ["Cut.safetensors"]
        gate = standin.post("reload-checkpoint")
        assert (gate.status_code, gate.json()["error"]) == (500, "AttributeError")
        assert gate.json()["errors"] == "'NoneType' object has no attribute 'lowvram'"
        job = standin.post("txt2img", JOB)
        assert (job.status_code, job.json()["error"]) == (500, "SafetensorError")
        assert "Stable diffusion model failed to load" in standin.log


def test_without_any_checkpoint_a_job_is_refused(tmp_path: Path) -> None:
    with running_standin(tmp_path, models=["--ckpt-dir", str(tmp_path / "none")]) as standin:
        assert standin.get("sd-models").json() == []
        assert standin.post("txt2img", JOB).json()["error"] == "FileNotFoundError"


def test_a_missing_default_checkpoint_is_silently_the_first_of_the_list(tmp_path: Path) -> None:
    with running_standin(tmp_path, args=["--ckpt", str(tmp_path / "Nope.safetensors")]) as standin:
        assert info(standin.post("txt2img", JOB))["sd_model_name"] == "Deliberate_v6"
        assert any("Checkpoint in --ckpt argument not found" in line for line in standin.log)


def test_it_loads_another_model_when_told_to(tmp_path: Path) -> None:
    with running_standin(tmp_path, env={"STANDIN_FAULTS": "other-model"}) as standin:
        assert info(standin.post("txt2img", JOB))["sd_model_name"] == "Other_v1"


def test_demo_models_fill_empty_folders(tmp_path: Path) -> None:
    with running_standin(tmp_path, models=[], args=["--demo-models"]) as standin:
        assert info(standin.post("txt2img", JOB))["sd_model_name"] == "Deliberate_v6"
        assert "add_detail" in {item["name"] for item in standin.get("loras").json()}


def test_overrides_leak_without_a_config_file(tmp_path: Path) -> None:
    with running_standin(tmp_path) as standin:
        standin.post("txt2img", {**JOB, "override_settings": {"CLIP_stop_at_last_layers": 2}})
        assert info(standin.post("txt2img", JOB))["clip_skip"] == 2


def test_overrides_are_restored_with_a_config_file(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/config.json").write_text('{"CLIP_stop_at_last_layers": 1}', encoding="utf-8")
    with running_standin(tmp_path) as standin:
        standin.post("txt2img", {**JOB, "override_settings": {"CLIP_stop_at_last_layers": 2}})
        assert info(standin.post("txt2img", JOB))["clip_skip"] == 1


def test_a_broken_checkpoint_switch_poisons_weighted_prompts(tmp_path: Path) -> None:
    with running_standin(tmp_path) as standin:
        models.truncated(models.checkpoint(tmp_path / "models/checkpoints/Cut.safetensors"))
        standin.post("refresh-checkpoints")
        plain = pictures(standin.post("txt2img", JOB))[0]
        switch = standin.post("txt2img", {**JOB, "override_settings": {"sd_model_checkpoint": "Cut"}})
        assert (switch.status_code, switch.json()["error"]) == (500, "SafetensorError")
        weighted = {**JOB, "prompt": "a (cat:1.4)"}
        after = pictures(standin.post("txt2img", weighted))[0]
        assert standin.post("refresh-embeddings").json()["error"] == "AttributeError"
        assert ImageChops.difference(plain, pictures(standin.post("txt2img", JOB))[0]).getbbox() is None
        for model in ("Other_v1", "Deliberate_v6"):  # what loads whole puts all of it together again
            healed = standin.post("txt2img", {**weighted, "override_settings": {"sd_model_checkpoint": model}})
    with running_standin(tmp_path) as healthy:
        right = pictures(healthy.post("txt2img", weighted))[0]
    assert ImageChops.difference(after, right).getbbox() is not None
    assert ImageChops.difference(pictures(healed)[0], right).getbbox() is None


def test_a_checkpoint_of_the_wrong_shape_is_restored(tmp_path: Path) -> None:
    with running_standin(tmp_path) as standin:
        models.bad_shape_checkpoint(tmp_path / "models/checkpoints/Bad.safetensors")
        standin.post("refresh-checkpoints")
        answer = standin.post("txt2img", {**JOB, "override_settings": {"sd_model_checkpoint": "Bad"}})
        assert answer.json()["error"] == "RuntimeError"
        assert standin.post("refresh-embeddings").status_code == 200


def test_it_dies_in_the_middle_of_a_job(tmp_path: Path) -> None:
    with running_standin(tmp_path) as standin:
        standin.fault("die", step=2)
        with pytest.raises(requests.ConnectionError):
            standin.post("txt2img", JOB)
        assert standin.process.wait(10) == -signal.SIGKILL


def test_it_hangs_deaf_to_interrupt_until_reset(standin: StandIn) -> None:
    standin.fault("hang", step=3)
    thread, answers = in_background(standin, LONG)
    wait_until(lambda: standin.get("progress").json()["state"]["sampling_step"] == 2)
    standin.post("interrupt")
    thread.join(0.2)
    assert thread.is_alive()
    assert standin.get("progress").json()["state"]["sampling_step"] == 2
    standin.reset()
    thread.join(20)
    assert answers[0].status_code == 200


def test_interrupt_gives_a_partial_picture_and_fewer_of_them(standin: StandIn) -> None:
    whole = pictures(standin.post("txt2img", {**JOB, "steps": 4}))[0]
    thread, answers = in_background(standin, {**LONG, "n_iter": 3})
    standin.post("interrupt")
    thread.join(20)
    partial = pictures(answers[0])
    assert (len(partial), info(answers[0])["all_seeds"]) == (1, [42, 43, 44])
    assert ImageChops.difference(partial[0], whole).getbbox() is not None
    assert standin.get("progress").json()["state"]["job_count"] == 0


def test_a_client_that_hangs_up_does_not_stop_the_job(standin: StandIn) -> None:
    with pytest.raises(requests.Timeout):
        requests.post(f"{standin.url}/sdapi/v1/txt2img", json={**LONG, "steps": 2000}, timeout=0.5)
    assert standin.get("progress").json()["state"]["job_count"] == 1
    standin.post("interrupt")
    wait_until(lambda: standin.get("progress").json()["state"]["job_count"] == 0)


def test_sigterm_finishes_the_running_job(tmp_path: Path) -> None:
    with running_standin(tmp_path, env=SLOW_STEPS) as standin:
        thread, answers = in_background(standin, {**JOB, "steps": 30})
        standin.process.terminate()
        thread.join(20)
        assert len(pictures(answers[0])) == 1
        standin.process.wait(10)


def test_out_of_memory_depends_on_the_pixels_and_passes(standin: StandIn) -> None:
    standin.fault("oom", count=-1, pixels=64 * 64)
    assert standin.post("txt2img", JOB).status_code == 200
    answer = standin.post("txt2img", {**JOB, "batch_size": 2})
    assert (answer.status_code, answer.json()["error"]) == (500, "OutOfMemoryError")
    assert answer.json()["errors"].startswith("CUDA out of memory. Tried to allocate")
    assert standin.post("txt2img", JOB).status_code == 200


def test_a_cuda_error_lasts_until_restart(tmp_path: Path) -> None:
    with running_standin(tmp_path) as standin:
        standin.fault("cuda-error")
        for _ in range(2):
            answer = standin.post("txt2img", JOB)
            assert answer.json()["errors"].startswith("CUDA error")


@pytest.mark.parametrize(
    ("name", "parameters", "error"),
    [("nan", {}, "NansException"), ("error", {"error": "ValueError", "message": "odd"}, "ValueError")],
)
def test_one_job_fails_and_the_next_works(standin: StandIn, name: str, parameters: dict[str, Any], error: str) -> None:
    standin.fault(name, **parameters)
    assert standin.post("txt2img", JOB).json()["error"] == error
    assert standin.post("txt2img", JOB).status_code == 200


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("wrong-model", "sd_model_name", "Other"),
        ("wrong-sampler", "sampler_name", "DPM++ 2M"),
        ("wrong-vae", "sd_vae_name", "other.safetensors"),
        ("wrong-clip-skip", "clip_skip", 3),
        ("wrong-seed", "seed", 43),
    ],
)
def test_the_answer_is_for_something_else(standin: StandIn, name: str, key: str, value: Any) -> None:
    standin.fault(name)
    answer = standin.post("txt2img", JOB)
    assert info(answer)[key] == value
    assert pictures(answer)[0].info["parameters"] == info(answer)["infotexts"][0]
    assert info(standin.post("txt2img", JOB))[key] != value


def test_pictures_are_missing_too_many_or_behind_a_grid(standin: StandIn) -> None:
    for name, count in (("missing-picture", 1), ("extra-picture", 3), ("grid-first", 3)):
        standin.fault(name)
        assert len(pictures(standin.post("txt2img", {**JOB, "batch_size": 2}))) == count


def test_a_picture_is_black_narrow_or_cut(standin: StandIn) -> None:
    standin.fault("black")
    assert pictures(standin.post("txt2img", JOB))[0].convert("RGB").getbbox() is None
    standin.fault("wrong-size")
    assert pictures(standin.post("txt2img", JOB))[0].size == (56, 64)
    standin.fault("truncated-picture")
    with pytest.raises(OSError, match=r"truncated|broken"):
        pictures(standin.post("txt2img", JOB))[0].load()
    standin.fault("broken-base64")
    assert "%" in standin.post("txt2img", JOB).json()["images"][0]


@pytest.mark.parametrize("name", ["drop-before", "drop-after", "cut-body"])
def test_the_connection_breaks(standin: StandIn, name: str) -> None:
    standin.fault(name, path="txt2img")
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        standin.post("txt2img", JOB)
    assert len(standin.requests("txt2img")) == (0 if name == "drop-before" else 1)
    assert standin.post("txt2img", JOB).status_code == 200


def test_the_answer_is_an_error_page_nothing_or_slow(standin: StandIn) -> None:
    standin.fault("http-error", status=503, path="txt2img")
    assert standin.post("txt2img", JOB).status_code == 503
    standin.fault("not-json", path="txt2img")
    assert standin.post("txt2img", JOB).headers["content-type"].startswith("text/html")
    standin.fault("empty", path="txt2img")
    assert standin.post("txt2img", JOB).content == b""
    for name in ("slow-body", "late"):
        standin.fault(name, path="txt2img", seconds=0.3)
        began = time.monotonic()
        assert standin.post("txt2img", JOB).status_code == 200
        assert time.monotonic() - began > 0.28


def test_memory_grows_job_by_job(standin: StandIn) -> None:
    standin.fault("memory-growth", mb=30)
    process = psutil.Process(standin.process.pid)
    before = process.memory_info().rss
    standin.post("txt2img", JOB)
    assert process.memory_info().rss - before > 20 * 2**20


def test_an_unknown_fault_is_refused(standin: StandIn) -> None:
    assert standin.post("/standin/faults", {"fault": "nope"}).status_code == 422


def test_requests_are_recorded(standin: StandIn) -> None:
    standin.post("txt2img", JOB)
    (entry,) = standin.requests("txt2img")
    assert (entry["method"], entry["json"]["seed"]) == ("POST", 42)


def test_the_command_line_is_the_webuis_own() -> None:
    assert command(["--xformers"])[1:3] == ["-m", "standin"]
