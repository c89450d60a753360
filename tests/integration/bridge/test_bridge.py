"""Clients of A1111's and OpenAI's API through the bridge to a queue endpoint with a real worker."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import openai
import pytest
import requests
import webuiapi  # type: ignore[import-untyped]  # the package has no types

from tests.integration.bridge.conftest import bridge
from tests.support.jobsource import JobSource
from tests.support.rig import SMALL, pixels
from tests.support.servers.queue_endpoint import queue_endpoint
from worker.images.inspect import decode_base64, inspect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.bridge.conftest import Bridged
    from tests.support.rig import Rig

DRAWN: dict[str, Any] = {"width": 64, "height": 64, "steps": 4, "seed": 42}


@pytest.fixture
def webui(bridged: Bridged) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(port=bridged.port)


@pytest.fixture
def client(bridged: Bridged) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{bridged.url}/v1", api_key="any")


def test_webuiapi_draws_the_picture_that_the_webui_itself_draws(webui: webuiapi.WebUIApi, rig: Rig) -> None:
    bridged = webui.txt2img(prompt="a cat", **DRAWN)  # the worker's WebUI is there from now on
    direct = webuiapi.WebUIApi(port=int(rig.url.rpartition(":")[2]))
    expected = direct.txt2img(prompt="a cat", **DRAWN)
    assert bridged.image.tobytes() == expected.image.tobytes()
    assert bridged.info["all_seeds"] == expected.info["all_seeds"] == [42]


def test_webuiapi_starts_from_a_picture_and_reads_its_notes(webui: webuiapi.WebUIApi) -> None:
    first = webui.txt2img(prompt="a cat", **DRAWN)
    second = webui.img2img(images=[first.image], prompt="a dog", denoising_strength=0.5, **DRAWN)
    assert second.image.size == (64, 64)
    assert "a cat" in webui.png_info(first.image).info


def test_options_are_remembered_for_the_client(webui: webuiapi.WebUIApi) -> None:
    before = webui.get_options()["sd_model_checkpoint"]
    titles = [row["title"] for row in webui.get_sd_models()]
    other = next(title for title in titles if title.startswith("Other"))
    webui.set_options({"sd_model_checkpoint": other})
    assert webui.get_options()["sd_model_checkpoint"] == other
    assert webui.txt2img(prompt="a cat", **DRAWN).info["sd_model_name"] == "Other_v1"
    webui.set_options({"sd_model_checkpoint": before})


def test_openais_client_generates_edits_and_lists(client: openai.OpenAI) -> None:
    extra = {"steps": 4, "seed": 42}
    made = client.images.generate(prompt="a cat", size="64x64", response_format="b64_json", extra_body=extra)
    picture = base64.b64decode((made.data or [])[0].b64_json or "")
    edited = client.images.edit(image=("photo.png", picture), prompt="a dog", extra_body=extra)
    assert inspect(decode_base64((edited.data or [])[0].b64_json or "")).width == 64
    assert "Deliberate_v6" in {model.id for model in client.models.list()}


def test_openais_stream_carries_each_picture(client: openai.OpenAI) -> None:
    extra = {"steps": 4, "seed": 42}
    events = list(client.images.generate(prompt="a cat", n=2, stream=True, size="64x64", extra_body=extra))
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    assert len({pixels(event.b64_json) for event in events}) == 2


def test_mistakes_come_back_as_each_api_words_them(bridged: Bridged, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.images.generate(prompt="a cat", extra_body={"steeps": 3})
    assert (caught.value.param, caught.value.code) == ("steeps", "invalid_input")
    answer = requests.post(f"{bridged.url}/sdapi/v1/txt2img", json={"prompt": "a cat", "steps": 999}, timeout=60)
    assert answer.status_code in {400, 422}
    assert "steps" in answer.json()["detail"]


def test_progress_is_the_jobs_and_interrupt_cancels_it(bridged: Bridged, rig: Rig) -> None:
    job = {**SMALL, "steps": 150}
    rig.fault("slow-step", count=-1, seconds=0.05)
    try:
        session = requests.Session()
        with ThreadPoolExecutor(1) as pool:
            drawing = pool.submit(requests.post, f"{bridged.url}/sdapi/v1/txt2img", json=job, timeout=60)
            deadline = time.monotonic() + 30
            while not 0 < session.get(f"{bridged.url}/sdapi/v1/progress", timeout=10).json()["progress"] < 1:
                assert time.monotonic() < deadline
            assert session.post(f"{bridged.url}/sdapi/v1/interrupt", timeout=10).status_code == 200
            answer = drawing.result(30)
            assert (answer.status_code, answer.json()["images"]) == (200, [])
        assert len(bridged.endpoint.cancelled) == 1
        assert session.get(f"{bridged.url}/sdapi/v1/progress", timeout=10).json()["state"]["job_count"] == 0
    finally:
        rig.reset()


def test_listings_are_asked_for_once_and_kept_for_the_next_bridge(bridged: Bridged, tmp_path: Path) -> None:
    first = bridged.get("/sdapi/v1/samplers").json()
    asked = len(bridged.endpoint.runs)
    assert bridged.get("/sdapi/v1/samplers").json() == first
    assert len(bridged.endpoint.runs) == asked
    (tmp_path / "listings.json").write_bytes(bridged.listings.read_bytes())
    with JobSource() as nobody, queue_endpoint(nobody) as asleep, bridge(tmp_path, asleep) as second:
        assert second.get("/sdapi/v1/samplers").json() == first
        assert asleep.runs == []


def test_what_the_endpoint_has_not_is_not_asked_for_twice(bridged: Bridged) -> None:
    assert bridged.get("/controlnet/model_list").status_code == 404
    asked = len(bridged.endpoint.runs)
    assert bridged.get("/controlnet/model_list").status_code == 404
    assert len(bridged.endpoint.runs) == asked


def test_all_listings_can_be_primed(bridged: Bridged, tmp_path: Path) -> None:
    with bridge(tmp_path, bridged.endpoint, "--prime") as primed:
        primed.process.wait_line("the listings are there", timeout=120)
        asked = len(bridged.endpoint.runs)
        for path in ("/sdapi/v1/sd-models", "/sdapi/v1/options", "/sdapi/v1/loras", "/v1/models"):
            assert primed.get(path).status_code == 200
        assert len(bridged.endpoint.runs) == asked
    assert "/v1/models" in json.loads((tmp_path / "listings.json").read_text(encoding="utf-8"))["listings"]


def test_a_throttled_endpoint_is_told_in_the_log_and_then_in_the_error(tmp_path: Path) -> None:
    with JobSource() as nobody, queue_endpoint(nobody) as throttled:
        throttled.workers = {"idle": 0, "throttled": 3}
        with bridge(tmp_path, throttled, "--patience", "1") as waiting:
            answer = requests.post(f"{waiting.url}/sdapi/v1/txt2img", json={"prompt": "a cat"}, timeout=60)
            assert answer.status_code >= 500
            assert "3 workers are throttled" in answer.json()["detail"]
            waiting.process.wait_line("3 workers are throttled")
            assert len(throttled.cancelled) == 1
            assert nobody.waiting() == 0


def test_a_client_that_hangs_up_cancels_its_job_at_the_endpoint(tmp_path: Path) -> None:
    with JobSource() as nobody, queue_endpoint(nobody) as asleep, bridge(tmp_path, asleep) as waiting:
        with pytest.raises(requests.ReadTimeout):
            requests.post(f"{waiting.url}/v1/images/generations", json={"prompt": "a cat"}, timeout=1)
        deadline = time.monotonic() + 20
        while not asleep.cancelled:
            assert time.monotonic() < deadline


def test_an_endpoint_that_takes_no_job_is_a_bad_gateway_with_its_words(tmp_path: Path) -> None:
    with JobSource() as nobody, queue_endpoint(nobody) as endpoint:
        endpoint.key = "another"
        with bridge(tmp_path, endpoint) as running:
            answer = requests.post(f"{running.url}/v1/images/generations", json={"prompt": "a cat"}, timeout=60)
            assert answer.status_code == 502
            assert "401" in answer.json()["error"]["message"]


def test_pages_elsewhere_and_other_names_are_refused(bridged: Bridged) -> None:
    asked = len(bridged.endpoint.runs)
    page = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    body = b'{"prompt": "a cat"}'
    assert requests.post(f"{bridged.url}/v1/images/generations", body, headers=page, timeout=10).status_code == 403
    assert bridged.get("/sdapi/v1/samplers", headers={"Host": "rebound.example"}).status_code == 400
    assert len(bridged.endpoint.runs) == asked
