"""What tiny pictures tell about upscalers and LoRAs, and when they can tell nothing."""

from __future__ import annotations

import base64
import io
import re
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from worker.webui.names.catalog import Checkpoint
from worker.webui.names.lora_tags import ChosenLora
from worker.webui.request.body import Expectation, Request
from worker.webui.result.probe import LOOK_AGAIN, Probe
from worker.webui.result.response import Findings

if TYPE_CHECKING:
    from collections.abc import Callable


def _png(picture: Image.Image) -> dict[str, Any]:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return {"image": base64.b64encode(file.getvalue()).decode()}


def _same(_path: str, _body: dict[str, Any]) -> Any:
    return _png(Image.new("RGB", (64, 64), (10, 20, 30)))


def _resizing(_path: str, body: dict[str, Any]) -> Any:
    with Image.open(io.BytesIO(base64.b64decode(body["image"]))) as given:
        method = Image.Resampling.NEAREST if body["upscaler_1"] == "Nearest" else Image.Resampling.LANCZOS
        return _png(given.resize((64, 64), method))


def _of_any_size(_path: str, body: dict[str, Any]) -> Any:
    return _png(Image.new("RGB", (8 + len(body["upscaler_1"]), 8)))


@pytest.mark.parametrize(
    ("webui", "idle"),
    [
        pytest.param(_resizing, ["R-ESRGAN 4x+"], id="it only resizes"),
        pytest.param(_same, [], id="a mock whose pictures are all the same"),
        pytest.param(_of_any_size, [], id="a mock whose sizes mean nothing"),
    ],
)
def test_an_upscaler_is_idle_where_resizes_differ_and_it_does_not(
    webui: Callable[[str, dict[str, Any]], Any], idle: list[str]
) -> None:
    assert Probe().idle_upscalers(["R-ESRGAN 4x+"], webui) == idle


class Painter:
    """A WebUI whose pictures depend on the prompt; `applies`: on the LoRAs in it too."""

    def __init__(self) -> None:
        self.applies = True
        self.asked = 0

    def __call__(self, _path: str, body: dict[str, Any]) -> Any:
        self.asked += 1
        prompt = str(body["prompt"]) if self.applies else re.sub(r"<.*?>", "", str(body["prompt"])).strip()
        shade = zlib.crc32(f"{prompt}|{body['seed']}".encode()) % 256
        return {"images": [_png(Image.new("RGB", (8, 8), (shade, 255 - shade, 7)))["image"]]}


def _request(*loras: str) -> Request:
    checkpoint = Checkpoint("a.safetensors", "a.safetensors", "/m/a.safetensors")
    chosen = tuple(ChosenLora(name, 1.0, "loras") for name in loras)
    expect = Expectation(count=1, checkpoint=checkpoint, clip_skip=1, seeds=(1,), loras=chosen)
    return Request("/sdapi/v1/txt2img", {"prompt": "a cat"}, expect, steps=1)


def test_a_lora_is_looked_at_again_after_some_jobs() -> None:
    probe, webui = Probe(), Painter()
    assert probe.request(_request("one"), webui) == Findings()
    first = webui.asked
    for _ in range(LOOK_AGAIN - 1):
        assert probe.request(_request("one"), webui) == Findings()
    assert webui.asked == first
    webui.applies = False
    assert probe.request(_request("one"), webui).stopped == ("one",)
    assert probe.request(_request("one"), webui).stopped == ("one",)
    webui.applies = True
    assert probe.request(_request("one"), webui) == Findings()


def test_a_lora_that_never_had_an_effect_does_not_fit() -> None:
    webui = Painter()
    webui.applies = False
    assert Probe().request(_request("one"), webui).unfit == {"one": 0}


def test_of_a_webui_with_a_log_a_lora_that_never_had_an_effect_is_not_asked_for_again() -> None:
    probe, webui, request = Probe(), Painter(), _request("one")
    webui.applies = False
    assert probe.due(request, ["one"]) == ["one"]
    assert probe.stopped(request, ["one"], webui) == ()
    assert probe.due(request, ["one"]) == []


def test_of_a_webui_with_a_log_one_that_had_an_effect_is_missed() -> None:
    probe, webui, request = Probe(), Painter(), _request("one")
    assert probe.stopped(request, probe.due(request, ["one"]), webui) == ()
    assert not any(probe.due(request, ["one"]) for _ in range(LOOK_AGAIN - 1))
    webui.applies = False
    assert probe.stopped(request, probe.due(request, ["one"]), webui) == ("one",)
