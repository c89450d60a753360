from __future__ import annotations

import base64
import io
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

from tests.contract import expectations as expected
from tests.support import models
from tests.support.standin import running_standin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REAL = os.environ.get("WEBUI_EXTENSIONS_URL", "").rstrip("/")
"""A real WebUI with ControlNet, ADetailer and Ultimate SD upscale, and the ControlNet model below."""
TARGETS = ["stand-in", *([pytest.param("real", marks=pytest.mark.real)] if REAL else [])]
MODEL = "control_v11p_sd15_canny"
SMALL = {**expected.SMALL, "steps": 2}
INSTALLED = "controlnet,adetailer,ultimate-sd-upscale"


class WebUI:
    def __init__(self, url: str) -> None:
        self.url = url
        self.post("/sdapi/v1/options", expected.PINNED)
        self.post("/sdapi/v1/options", {"control_net_no_detectmap": False})

    def get(self, path: str) -> Any:
        answer = requests.get(self.url + path, timeout=300)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=300)

    def generate(self, tab: str = "txt2img", /, **changes: Any) -> tuple[list[Image.Image], dict[str, Any]]:
        answer = self.post(f"/sdapi/v1/{tab}", {**SMALL, **changes})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return [opened(text) for text in body["images"]], json.loads(body["info"])


@pytest.fixture(scope="module", params=TARGETS)
def webui(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUI]:
    if request.param == "real":
        yield WebUI(REAL)
        return
    folder: Path = tmp_path_factory.mktemp("extensions")
    models.write_safetensors(folder / f"data/models/ControlNet/{MODEL}.safetensors", {"control_model.x": (4,)})
    with running_standin(folder, env={"STANDIN_EXTENSIONS": INSTALLED}) as standin:
        yield WebUI(standin.url)


def opened(text: str) -> Image.Image:
    image = Image.open(io.BytesIO(base64.b64decode(text)))
    image.load()
    return image


def photo(size: tuple[int, int] = (64, 64)) -> str:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def unit(**changes: Any) -> dict[str, Any]:
    whole = {"enabled": True, "module": "canny", "model": MODEL, "image": photo(), **changes}
    return {"controlnet": {"args": [{key: value for key, value in whole.items() if value is not None}]}}


def pixels(image: Image.Image) -> bytes:
    return image.convert("RGB").tobytes()


def test_the_extensions_scripts_are_listed(webui: WebUI) -> None:
    scripts = webui.get("/sdapi/v1/scripts")
    assert {"controlnet", "adetailer"} <= set(scripts["txt2img"])
    assert "ultimate sd upscale" in scripts["img2img"]


def test_controlnet_tells_version_models_and_modules(webui: WebUI) -> None:
    assert webui.get("/controlnet/version") == {"version": 3}
    assert webui.get("/controlnet/settings") == {"control_net_unit_count": 3}
    assert any(title.startswith(f"{MODEL} [") for title in webui.get("/controlnet/model_list")["model_list"])
    modules = webui.get("/controlnet/module_list")
    assert {"none", "canny", "depth", "openpose", "reference_only", "tile_resample"} <= set(modules["module_list"])
    assert [slider["name"] for slider in modules["module_detail"]["canny"]["sliders"]] == [
        "Resolution",
        "Low Threshold",
        "High Threshold",
    ]
    types = webui.get("/controlnet/control_types")["control_types"]
    assert types["Canny"]["default_option"] == "canny"


def test_a_unit_that_works_adds_its_map_and_changes_the_picture(webui: WebUI) -> None:
    plain, _ = webui.generate()
    images, info = webui.generate(alwayson_scripts=unit())
    assert [image.size for image in images] == [(64, 64)] * 2
    assert "parameters" not in images[1].info
    assert pixels(images[0]) != pixels(plain[0])
    assert info["extra_generation_params"]["ControlNet 0"].startswith(f"Module: canny, Model: {MODEL}, Weight: 1.0, ")
    assert pixels(webui.generate()[0][0]) == pixels(plain[0])


DEAD_UNITS: list[dict[str, Any]] = [
    {"enabled": None},
    {"enabled": False},
    {"model": "nope"},
    {"model": f"{MODEL}.safetensors"},
    {"model": f"{MODEL} [00000000]"},
    {"model": "None"},
    {"image": None},
    {"image": "!!!!"},
    {"module": "openpose"},
]


@pytest.mark.parametrize("changes", DEAD_UNITS, ids=str)
def test_a_unit_that_does_not_work_is_a_plain_picture_without_a_map(webui: WebUI, changes: dict[str, Any]) -> None:
    images, _ = webui.generate(alwayson_scripts=unit(**changes))
    assert [pixels(image) for image in images] == [pixels(webui.generate()[0][0])]


@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"module": "nope"}, "ValidationError", "module"),
        ({"weight": 3}, "ValidationError", "weight"),
        ({"weight": "abc"}, "ValidationError", "weight"),
        ({"guidance_start": 0.8, "guidance_end": 0.2}, "ValidationError", "__root__"),
        ({"control_mode": 0}, "ValidationError", "control_mode"),
        ({"resize_mode": 1}, "ValidationError", "resize_mode"),
        ({"input_image": "x"}, "AssertionError", "Conflict of field"),
    ],
    ids=str,
)
def test_a_wrong_unit_is_a_500(webui: WebUI, changes: dict[str, Any], error: str, field: str) -> None:
    answer = webui.post("/sdapi/v1/txt2img", {**SMALL, "alwayson_scripts": unit(**changes)})
    assert (answer.status_code, answer.json()["error"]) == (500, error)
    assert field in answer.json()["errors"]


def test_hires_fix_gives_two_maps_per_unit_the_large_one_first(webui: WebUI) -> None:
    hires: dict[str, Any] = {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.5, "hr_second_pass_steps": 2}
    images, _ = webui.generate(alwayson_scripts=unit(), **hires)
    assert [image.size for image in images] == [(128, 128), (128, 128), (64, 64)]


def test_more_units_than_there_are_are_cut(webui: WebUI) -> None:
    one = unit()["controlnet"]["args"][0]
    images, info = webui.generate(alwayson_scripts={"controlnet": {"args": [one] * 4}})
    assert len(images) == 4
    assert "ControlNet 3" not in info["extra_generation_params"]


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        ({"controlnet_module": "nope", "controlnet_input_images": ["IMAGE"]}, 422, "Module not available"),
        ({}, 422, "No image selected"),
        ({"controlnet_module": "clip_vision", "controlnet_input_images": ["IMAGE"]}, 422, "Module not supported"),
        ({"controlnet_module": "canny", "controlnet_input_images": ["!!!"]}, 500, "Invalid encoded image"),
    ],
    ids=str,
)
def test_detect_refuses(webui: WebUI, body: dict[str, Any], status: int, detail: str) -> None:
    images = body.get("controlnet_input_images", [])
    given = {
        **body,
        **({"controlnet_input_images": [photo() if text == "IMAGE" else text for text in images]} if images else {}),
    }
    answer = webui.post("/controlnet/detect", given)
    assert (answer.status_code, answer.json()["detail"]) == (status, detail)


def test_detect_gives_a_map_with_the_wanted_short_side(webui: WebUI) -> None:
    body = {"controlnet_module": "canny", "controlnet_input_images": [photo()], "controlnet_processor_res": 256}
    answer = webui.post("/controlnet/detect", body).json()
    assert answer["info"] == "Success"
    assert opened(answer["images"][0]).size == (256, 256)


def test_adetailer_tells_version_models_and_schema(webui: WebUI) -> None:
    assert webui.get("/adetailer/v1/version") == {"version": "25.3.0"}
    assert "mediapipe_face_full" in webui.get("/adetailer/v1/ad_model")["ad_model"]
    schema = webui.get("/adetailer/v1/schema")
    assert schema["additionalProperties"] is False
    assert schema["properties"]["ad_confidence"]["default"] == 0.3


def test_adetailer_claims_what_it_was_told_even_if_it_found_nothing(webui: WebUI) -> None:
    passes = {"ADetailer": {"args": [True, False, {"ad_model": "mediapipe_face_full"}, {"ad_model": "None"}]}}
    images, info = webui.generate(alwayson_scripts=passes)
    noted = info["extra_generation_params"]
    assert (noted["ADetailer model"], noted["ADetailer version"]) == ("mediapipe_face_full", "25.3.0")
    assert "ADetailer model 2nd" not in noted
    assert len(images) == 1


def test_adetailer_without_its_two_switches_runs_the_default_slot_too(webui: WebUI) -> None:
    _, info = webui.generate(alwayson_scripts={"ADetailer": {"args": [{"ad_model": "None"}]}})
    assert "ADetailer model 2nd" in info["extra_generation_params"]


@pytest.mark.parametrize("wrong", [{"foo": 1}, {"ad_confidence": 3}], ids=str)
def test_adetailer_drops_a_wrong_pass_without_a_word(webui: WebUI, wrong: dict[str, Any]) -> None:
    given = {"ad_model": "mediapipe_face_short", **wrong}
    _, info = webui.generate(alwayson_scripts={"ADetailer": {"args": [True, False, given]}})
    assert "ADetailer model" not in info["extra_generation_params"]


UPSCALE = [None, 64, 64, 8, 16, 64, 0.35, 16, 1, False, 0, False, 4, 0, 2, 256, 256, 2]


def test_ultimate_upscale_gives_one_picture_and_with_seam_fix_two(webui: WebUI) -> None:
    job = {"init_images": [photo()], "denoising_strength": 0.3, "script_name": "ultimate sd upscale"}
    images, info = webui.generate("img2img", **job, script_args=UPSCALE)
    assert [image.size for image in images] == [(128, 128)]
    assert (info["width"], info["extra_generation_params"]["Ultimate SD upscale upscaler"]) == (128, "Lanczos")
    seamed = [*UPSCALE[:13], 2, *UPSCALE[14:]]
    assert len(webui.generate("img2img", **job, script_args=seamed)[0]) == 2


@pytest.mark.parametrize(
    ("place", "value", "error"),
    [(8, "Lanczos", "TypeError"), (8, 99, "IndexError"), (10, "Linear", "ValueError"), (13, "None", "ValueError")],
)
def test_ultimate_upscale_wants_numbers(webui: WebUI, place: int, value: Any, error: str) -> None:
    arguments = [*UPSCALE[:place], value, *UPSCALE[place + 1 :]]
    body = {**SMALL, "init_images": [photo()], "script_name": "ultimate sd upscale", "script_args": arguments}
    answer = webui.post("/sdapi/v1/img2img", body)
    assert (answer.status_code, answer.json()["error"]) == (500, error)


def test_ultimate_upscale_names_missing_arguments(webui: WebUI) -> None:
    body = {**SMALL, "init_images": [photo()], "script_name": "ultimate sd upscale", "script_args": UPSCALE[:-1]}
    answer = webui.post("/sdapi/v1/img2img", body)
    assert answer.json()["errors"] == "Script.run() missing 1 required positional argument: 'custom_scale'"
