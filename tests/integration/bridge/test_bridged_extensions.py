"""A bridge to an endpoint with ControlNet, ADetailer and a store: the pictures that the WebUI itself makes."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import openai
import pytest
import requests
import webuiapi  # type: ignore[import-untyped]  # the package has no types

from tests.integration.bridge.conftest import bridge
from tests.support import models
from tests.support.jobsource import JobSource
from tests.support.rig import SMALL, Rig, pixels
from tests.support.served import CANNY, EXTENSIONS
from tests.support.servers.queue_endpoint import queue_endpoint
from tests.support.servers.s3 import ACCESS_KEY, SECRET_KEY, running_store
from tests.support.webui_calls import CALLS, DETECTOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.bridge.conftest import Bridged
    from tests.support.servers.s3 import Store

ANSWER_BYTES = 60_000
"""Of an endpoint whose answers hold a small picture, but not several large ones."""


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store() as running:
        running.make_bucket("pics")
        yield running


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, store: Store) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("rig")
    (folder / "webui/extensions/sd-webui-controlnet").mkdir(parents=True)
    control, detectors = folder / "controlnet", folder / "webui/models/adetailer"
    control.mkdir()
    models.checkpoint(control / f"{CANNY}.safetensors")
    detectors.mkdir(parents=True)
    (detectors / DETECTOR).write_bytes(b"a detector")
    settings = {
        "STANDIN_EXTENSIONS": EXTENSIONS,
        "CONTROLNET_DIR": str(control),
        "WEBUI_ARGS": f"--data-dir {folder / 'webui'}",
        "BUCKET_ENDPOINT_URL": store.url,
        "BUCKET_NAME": "pics",
        "BUCKET_ACCESS_KEY_ID": ACCESS_KEY,
        "BUCKET_SECRET_ACCESS_KEY": SECRET_KEY,
        "MAX_OUTPUT_BYTES": str(ANSWER_BYTES),
    }
    with JobSource() as source, Rig(folder, source, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def bridged(rig: Rig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridged]:
    with queue_endpoint(rig.source) as endpoint, bridge(tmp_path_factory.mktemp("bridge"), endpoint) as running:
        yield running


@pytest.mark.parametrize("call", CALLS)
def test_webuiapi_gets_from_the_bridge_what_the_webui_itself_gives(bridged: Bridged, rig: Rig, call: str) -> None:
    direct = webuiapi.WebUIApi(port=int(rig.url.rpartition(":")[2]))
    assert CALLS[call](webuiapi.WebUIApi(port=bridged.port)) == CALLS[call](direct)


def test_pictures_too_large_for_an_answer_come_through_the_store_as_base64(
    bridged: Bridged, rig: Rig, store: Store
) -> None:
    body = {**SMALL, "width": 512, "height": 512, "batch_size": 2}
    stored = len(store.keys("pics"))
    answer = requests.post(f"{bridged.url}/sdapi/v1/txt2img", json=body, timeout=60).json()
    direct = requests.post(f"{rig.url}/sdapi/v1/txt2img", json=body, timeout=60).json()
    assert [pixels(image) for image in answer["images"]] == [pixels(image) for image in direct["images"]]
    assert sum(map(len, answer["images"])) > ANSWER_BYTES
    assert len(store.keys("pics")) == stored + 2


def test_one_picture_made_larger_comes_through_the_store(bridged: Bridged, rig: Rig) -> None:
    small = requests.post(f"{rig.url}/sdapi/v1/txt2img", json={**SMALL, "width": 256, "height": 256}, timeout=60).json()
    body = {"image": small["images"][0], "upscaler_1": "Lanczos", "upscaling_resize": 4}
    here, there = (
        requests.post(f"{url}/sdapi/v1/extra-single-image", json=body, timeout=60).json()
        for url in (bridged.url, rig.url)
    )
    assert len(here["image"]) > ANSWER_BYTES
    assert pixels(here["image"]) == pixels(there["image"])


def test_openais_client_gets_links_where_it_asks_for_them_and_pictures_else(bridged: Bridged, rig: Rig) -> None:
    client = openai.OpenAI(base_url=f"{bridged.url}/v1", api_key="any")
    wanted: dict[str, Any] = {"prompt": "a cat", "size": "512x512", "n": 2, "extra_body": {"steps": 4, "seed": 42}}
    inline = [one.b64_json or "" for one in client.images.generate(**wanted).data or ()]
    links = [one.url or "" for one in client.images.generate(**wanted, response_format="url").data or ()]
    fetched = [base64.b64encode(requests.get(link, timeout=10).content).decode() for link in links]
    body = {**SMALL, "width": 512, "height": 512, "batch_size": 2}
    direct = requests.post(f"{rig.url}/sdapi/v1/txt2img", json=body, timeout=60).json()["images"]
    assert [pixels(image) for image in inline] == [pixels(image) for image in fetched]
    assert [pixels(image) for image in inline] == [pixels(image) for image in direct]
