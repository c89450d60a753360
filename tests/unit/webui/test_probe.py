"""What tiny pictures tell about an upscaler, and when they can tell nothing."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from worker.webui.result.probe import Probe

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
