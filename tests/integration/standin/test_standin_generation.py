from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.support.standin import StandIn, running_standin

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 42}


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running_standin(tmp_path_factory.mktemp("standin")) as running:
        running.post("options", {"CLIP_stop_at_last_layers": 1, "sd_vae": "Automatic", "samples_format": "png"})
        yield running


def generate(standin: StandIn, **changes: Any) -> tuple[list[Image.Image], dict[str, Any]]:
    answer = standin.post("txt2img", {**SMALL, **changes})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return [Image.open(io.BytesIO(base64.b64decode(image))) for image in body["images"]], json.loads(body["info"])


def pixels(image: Image.Image) -> bytes:
    return image.convert("RGB").tobytes()


def test_the_same_request_gives_the_same_pixels(standin: StandIn) -> None:
    assert pixels(generate(standin)[0][0]) == pixels(generate(standin)[0][0])


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a dog"},
        {"negative_prompt": "blurry"},
        {"seed": 43},
        {"steps": 3},
        {"cfg_scale": 5},
        {"sampler_name": "Euler a"},
        {"scheduler": "karras"},
        {"prompt": "a cat <lora:add_detail:1>"},
        {"prompt": "a cat goodemb"},
        {"override_settings": {"CLIP_stop_at_last_layers": 2}},
        {"override_settings": {"sd_model_checkpoint": "Other_v1"}},
        {"override_settings": {"sd_vae": "tinyvae.safetensors"}},
        {"subseed": 5, "subseed_strength": 0.3},
        {"tiling": True},
        {"eta": 0.0, "sampler_name": "Euler a"},
        {"refiner_checkpoint": "Other_v1", "refiner_switch_at": 0.5},
    ],
    ids=lambda change: ",".join(f"{key}={value}" for key, value in change.items()),
)
def test_whatever_changes_a_real_picture_changes_this_one(standin: StandIn, change: dict[str, Any]) -> None:
    assert pixels(generate(standin)[0][0]) != pixels(generate(standin, **change)[0][0])


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat<lora:nope:1>",
        "a cat<lora:ADD_DETAIL:1>",
        "a cat<lora:add_detail.safetensors:1>",
        "a cat<lora:add_detail:abc>",
        "a cat<lora:for_sdxl:1>",
    ],
)
def test_a_lora_that_cannot_be_used_changes_nothing(standin: StandIn, prompt: str) -> None:
    assert pixels(generate(standin)[0][0]) == pixels(generate(standin, prompt=prompt)[0][0])


def test_pictures_of_n_iter_are_those_of_single_jobs(standin: StandIn) -> None:
    together, info = generate(standin, n_iter=2, batch_size=2)
    assert info["all_seeds"] == [42, 43, 44, 45]
    for picture, seed in zip(together, info["all_seeds"], strict=True):
        assert pixels(picture) == pixels(generate(standin, seed=seed)[0][0])


def test_the_infotext_is_in_the_picture(standin: StandIn) -> None:
    (picture,), info = generate(standin, sampler_name="DPM++ 2M Karras", scheduler="exponential")
    assert picture.info["parameters"] == info["infotexts"][0]
    assert info["infotexts"][0] == (
        "a cat\nSteps: 2, Sampler: DPM++ 2M, Schedule type: Exponential, CFG scale: 7.0, Seed: 42, Size: 64x64, "
        "Model: Deliberate_v6, Version: v1.10.1"
    )


def test_a_width_that_is_no_multiple_of_eight_is_rounded_in_the_picture_only(standin: StandIn) -> None:
    (picture,), info = generate(standin, width=500, height=500)
    assert (picture.size, info["width"]) == ((496, 496), 500)


def test_saving_several_pictures_puts_a_grid_first(standin: StandIn) -> None:
    pictures, info = generate(standin, batch_size=2, save_images=True)
    assert (len(pictures), info["index_of_first_image"], len(info["infotexts"])) == (3, 1, 3)


def test_hires_fix_gives_the_larger_size_and_info_the_first(standin: StandIn) -> None:
    (picture,), info = generate(standin, enable_hr=True, denoising_strength=0.4, hr_resize_x=96, hr_resize_y=128)
    assert (picture.size, info["width"], info["height"]) == ((96, 128), 64, 64)
