"""A WebUI that somebody else runs, whose folders this worker does not see."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.rig import pixels
from tests.support.standin import running_standin
from tests.support.waiting import wait_until
from worker.app import Worker as App
from worker.errors import BootFailed
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.standin import StandIn


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    folder = tmp_path_factory.mktemp("elsewhere")
    models.lora(folder / "models" / "loras" / "nameless.safetensors", metadata={"sshs_model_hash": ""})
    with running_standin(folder) as running:
        yield running


def host_of(webui: StandIn, folder: Path, **more: str) -> App:
    """A worker whose WebUI is `webui`, with folders of its own in `folder`."""
    environment = {
        "WEBUI_URL": webui.url,
        "MODELS_DIR": str(folder / "models"),
        "OUT_DIR": str(folder / "out"),
        "PATH": os.environ["PATH"],
        **more,
    }
    return App(read_settings(environment), environment)


@pytest.fixture(scope="module")
def worker(elsewhere: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    host = host_of(elsewhere, tmp_path_factory.mktemp("here"), DEFAULT_CHECKPOINT="Deliberate v6")
    host.spawn()
    host.wait_ready()
    yield Worker(host)
    host.close()


def test_the_default_checkpoint_is_found_in_any_spelling(worker: Worker) -> None:
    assert worker.run()["applied"]["checkpoint"] == "Deliberate_v6"


def test_models_are_found_in_any_spelling_and_nothing_is_fetched(worker: Worker) -> None:
    answer = worker.run(checkpoint="Deliberate v6", loras=["Add Detail"], prompt="a <lora:Style Two:0.5> cat")
    assert answer["applied"]["checkpoint"] == "Deliberate_v6"
    assert {lora["name"] for lora in answer["applied"]["loras"]} == {"add_detail", "style_two"}
    assert not any(worker.host.settings.folder("checkpoint").glob("*"))


def test_loras_without_a_hash_of_their_own_are_missed_at_once_where_the_webui_computes_hashes(
    elsewhere: StandIn, worker: Worker
) -> None:
    assert "error" not in worker.run(loras=["nameless"])
    elsewhere.fault("no-loras", count=-1)
    try:
        answer = worker.run(loras=["nameless"])
    finally:
        elsewhere.reset()
    assert [each["what"] for each in answer["details"]["mismatches"]] == ["LoRAs that were loaded"]


def test_what_a_job_overrides_does_not_hold_for_another_that_is_prepared_meanwhile(
    elsewhere: StandIn, worker: Worker
) -> None:
    async def both() -> tuple[dict[str, Any], dict[str, Any]]:
        other = {**job, "prompt": "another cat", "steps": 20, "clip_skip": 2, "vae": "tinyvae"}
        running = asyncio.ensure_future(worker.host.run({"id": "other", "input": other}, on_progress=lambda _: None))
        await asyncio.to_thread(wait_until, lambda: elsewhere.get("progress").json()["state"]["sampling_step"] > 1)
        answer = await worker.host.run({"id": "meanwhile", "input": job}, on_progress=lambda _: None)
        return answer, await running

    job = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 42}
    plain = pixels(worker.run(**job)["images"][0])
    elsewhere.fault("slow-step", seconds=0.1)
    answer, other = asyncio.run(both())
    assert (other["applied"]["clip_skip"], other["applied"]["vae"]) == (2, "tinyvae.safetensors")
    assert (answer["applied"]["clip_skip"], answer["applied"]["vae"]) == (1, None)
    assert pixels(answer["images"][0]) == plain


def test_an_option_that_has_no_value_has_none_again_after_a_job_with_one(elsewhere: StandIn, worker: Worker) -> None:
    start = worker.run()["images"]
    larger = {"init_images": start, "width": 128, "height": 128}
    answer = worker.run(**larger, override_settings={"upscaler_for_img2img": "Lanczos"})
    assert answer["parameters"]["override_settings"]["upscaler_for_img2img"] == "Lanczos"
    assert elsewhere.get("options").json()["upscaler_for_img2img"] in {None, "None"}


def test_an_unknown_model_is_refused_with_what_the_webui_has(worker: Worker) -> None:
    answer = worker.run(checkpoint="Deliberated")
    assert answer["error_code"] == "model_not_found"
    assert "Deliberate_v6" in answer["error"]


def test_a_default_that_the_webui_has_not_is_told_as_what_it_is(elsewhere: StandIn, tmp_path: Path) -> None:
    host = host_of(elsewhere, tmp_path, DEFAULT_CHECKPOINT="Nobody_v1")
    host.spawn()
    try:
        with pytest.raises(BootFailed, match=r"^the default checkpoint 'Nobody_v1' is not in the WebUI's list"):
            host.wait_ready()
    finally:
        host.close()


def test_a_picture_that_somebody_else_interrupted_is_made_again(elsewhere: StandIn, worker: Worker) -> None:
    job = {"steps": 20, "prompt": "a cat, to the end"}
    right = pixels(worker.run(**job)["images"][0])
    elsewhere.fault("slow-step", count=20, seconds=0.2)

    def interrupt_it() -> None:
        while not elsewhere.get("progress").json()["state"]["sampling_step"]:
            pass
        elsewhere.post("interrupt", {}).raise_for_status()

    somebody = threading.Thread(target=interrupt_it)
    somebody.start()
    answer = worker.run(**job)
    somebody.join()
    assert pixels(answer["images"][0]) == right
    assert any("second run" in warning for warning in answer["warnings"])
    elsewhere.reset()


def test_defaults_that_somebody_else_changes_hold_from_the_next_job_on(elsewhere: StandIn, worker: Worker) -> None:
    first = worker.run()
    try:
        for layers in (2, 1):
            answer = requests.post(
                f"{elsewhere.url}/sdapi/v1/options", json={"CLIP_stop_at_last_layers": layers}, timeout=10
            )
            assert answer.status_code == 200
            made = worker.run()
            assert made["applied"]["clip_skip"] == layers
        assert made["images"] == first["images"]
    finally:
        requests.post(f"{elsewhere.url}/sdapi/v1/options", json={"CLIP_stop_at_last_layers": 1}, timeout=10)


def test_the_device_of_somebody_elses_webui_is_unknown(worker: Worker) -> None:
    assert worker.run()["worker"]["device"] is None
