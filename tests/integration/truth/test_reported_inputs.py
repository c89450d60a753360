"""Inputs that people were seen to send, each with what has to come of it: a picture with a warning, or its mistakes."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.integration.webui.test_extensions import picture

if TYPE_CHECKING:
    from tests.integration.conftest import Worker

SMALL: dict[str, Any] = {"prompt": "x", "steps": 2, "width": 64, "height": 64, "seed": 1}
START = {"prompt": "x", "steps": 2, "seed": 1, "denoising_strength": 0.5, "init_images": [picture()]}


def encoded(image: Image.Image, notes: str | None = None) -> str:
    out, told = io.BytesIO(), PngInfo()
    if notes is not None:
        told.add_text("parameters", notes)
    image.save(out, "PNG", pnginfo=told)
    return base64.b64encode(out.getvalue()).decode()


CLEAR = encoded(Image.new("RGBA", (64, 64), (200, 10, 10, 0)))
TWICE = base64.b64encode(picture().encode()).decode()
EXAMPLE = {
    "prompt": "",
    "negative_prompt": "",
    "styles": ["string"],
    "seed": -1,
    "sampler_name": "string",
    "steps": 50,
    "scheduler": "string",
    "width": 512,
    "height": 512,
    "override_settings": {},
    "refiner_checkpoint": "string",
    "hr_upscaler": "string",
    "enable_hr": False,
    "script_name": "string",
    "script_args": [],
    "infotext": "string",
}

DRAWN: list[tuple[dict[str, Any], list[str]]] = [
    ({**SMALL, "sampler_name": "Euler a", "eta": 0}, ["eta 0 takes the noise out of Euler a"]),
    ({**SMALL, "sampler_name": "Euler a", "s_noise": 0}, ["s_noise 0 takes the noise out of Euler a"]),
    ({**SMALL, "sampler_name": "DPM++ SDE Karras", "s_noise": 0}, ["s_noise 0 takes the noise out of DPM++ SDE"]),
    ({**START, "initial_noise_multiplier": 0}, ["initial_noise_multiplier 0 takes the noise away"]),
    ({**SMALL, "checkpoint": "XL_v1"}, ["64x64 is small for SDXL"]),
    ({**START, "init_images": [CLEAR]}, ["init_images[0] is wholly transparent"]),
    ({**SMALL, "prompt": "{cat|dog}", "negative_prompt": "__bad__"}, ["'{cat|dog}' is read as plain", "'__bad__'"]),
    ({**SMALL, "override_settings": {"samples_save": False, "save_to_dirs": True}}, ["samples_save", "save_to_dirs"]),
    ({**SMALL, "guidance_scale": 7, "cfg_scale": 7}, ["guidance_scale is ignored"]),
    ({**SMALL, "styles": [""], "vae": "", "checkpoint": "", "refiner": "", "loras": "", "override_settings": []}, []),
    ({**SMALL, "sd_vae": "", "prompt_styles": [], "mask_alpha": 0}, ["sd_vae, prompt_styles, mask_alpha are ignored"]),
    ({**SMALL, "enable_hr": False, "hr_upscaler": "4x-UltraSharp", "hr_scale": 0, "hr_resize_x": 513}, []),
    ({**START, "mask": "", "inpaint_full_res": 0, "inpainting_fill": 1, "mask_blur": 4, "image_cfg_scale": 1.5}, []),
    ({**SMALL, "init_images": [""], "mask": None, "prompts": [], "hires": {}}, []),
    ({"compat": "diffusers", "prompt": "x", "width": 64, "height": 64, "guidance_scale": 0.0}, ["no guidance in"]),
]  # fmt: skip

REFUSED: list[tuple[dict[str, Any], dict[str, tuple[str, str | None]]]] = [
    (
        {**START, "alwayson_scripts": {"SD upscale": {"args": ["", 64, "Lanczos", 2]}}},
        {"alwayson_scripts.SD upscale": ("is a selectable script", None)},
    ),
    (
        {**SMALL, "script_name": "Tiled Diffusion", "script_args": [True]},
        {"script_name": ("send tiled_diffusion", None)},
    ),
    ({**SMALL, "script_name": "ControlNet", "script_args": [{}]}, {"script_name": ("send controlnet", None)}),
    (
        {"prompt": "x", "batch": 1, "width": 998, "controlnet_units": [{"init_images": [picture()], "model": "canny"}]},
        {
            "controlnet_units": ("is not a field", "controlnet"),
            "controlnet_units[0].init_images": ("is not a field", "image"),
            "batch": ("is not a field", "batch_size"),
            "width": ("must be a multiple of 8", "1000"),
        },
    ),
    ({**SMALL, "adetailer": "face.pt"}, {"adetailer": ("must be an object", '{"ad_model": "face.pt"}')}),
    ({**SMALL, "adetailer": True}, {"adetailer": ("must be an object", '{"ad_model": "face_yolov8n.pt"}')}),
    ({**SMALL, "loras": ["a:0.8"]}, {"loras[0]": ("has the scale in its name", '{"name": "a", "scale": 0.8}')}),
    ({**SMALL, "loras": {"a": 0.8}}, {"loras": ("must be a list", '[{"name": "a", "scale": 0.8}]')}),
    ({**SMALL, "loras": [{"path": "a", "multiplier": 1}]}, {
        "loras[0].path": ("is not a field", "name"), "loras[0].multiplier": ("is not a field", "scale"),
    }),
    ({**SMALL, "hr_steps": 10}, {"hr_steps": ("is not a field", "hr_second_pass_steps")}),
    ({**SMALL, "format": "jpg", "jpeg_quality": 8}, {
        "format": ("is not a field", "output.format"), "jpeg_quality": ("is not a field", "output.quality"),
    }),
    ({**SMALL, "guidance_scale": 7.5, "cfg_scale": 7}, {"guidance_scale": ("says the same as cfg_scale", None)}),
    ({**SMALL, "hr_cfg": 3}, {"hr_cfg": ("is a field of Forge; this worker runs AUTOMATIC1111", "cfg_scale")}),
    (
        {"input": {"prompt": "x", "negative_promp": "y"}},
        {"input": ("is wrapped twice", None), "input.negative_promp": ("is not a field", "negative_prompt")},
    ),
    ({"type": "upscale", "image": TWICE, "upscaler": "Lanczos"}, {"image": ("encoded twice", None)}),
    ({"type": "upscale", "image": "data:,", "upscaler": "Lanczos"}, {"image": ("is an empty data URL", None)}),
]  # fmt: skip


@pytest.mark.parametrize(("job", "warnings"), DRAWN)
def test_pictures_come_with_a_word_on_each_oddity(worker: Worker, job: dict[str, Any], warnings: list[str]) -> None:
    answer = worker.run_job({"input": job})
    assert len(answer.get("images", ())) == 1, answer.get("error")
    assert all(any(part in told for told in answer["warnings"]) for part in warnings), answer["warnings"]
    assert bool(answer["warnings"]) == bool(warnings)


@pytest.mark.parametrize(("job", "mistakes"), REFUSED)
def test_each_mistake_is_named_with_what_would_be_right(
    worker: Worker, job: dict[str, Any], mistakes: dict[str, tuple[str, str | None]]
) -> None:
    answer = worker.run_job({"input": job})
    told = {each["path"]: (each["message"], each.get("suggestion")) for each in answer["details"]["problems"]}
    assert told.keys() == mistakes.keys()
    for path, (message, suggestion) in mistakes.items():
        assert message in told[path][0]
        assert told[path][1] == suggestion


def test_a_job_as_text_is_named_as_one_with_its_own_mistakes(worker: Worker) -> None:
    answer = worker.run_job({"input": json.dumps({"prompt": "x", "negative_promp": "y"})})
    assert [each["path"] for each in answer["details"]["problems"]] == ["", "negative_promp"]
    assert "is a text that holds JSON" in answer["error"]


def test_the_documentations_example_is_named_as_such_with_each_of_its_places(worker: Worker) -> None:
    first, *others = worker.run_job({"input": EXAMPLE})["details"]["problems"]
    assert first["message"].startswith("values of the documentation's example ('string') are still in it, at styles[0]")
    places = {"styles[0]", "sampler_name", "scheduler", "refiner_checkpoint", "script_name", "infotext"}
    assert places <= {each["path"] for each in others}
    assert all(path in first["message"] for path in places)


@pytest.mark.parametrize("notes", ["None", "null", "undefined", "{}", "  "])
def test_notes_that_say_nothing_make_no_job(worker: Worker, notes: str) -> None:
    image = encoded(Image.new("RGB", (64, 64), "gray"), notes)
    answer = worker.run_job({"input": {"type": "png_info", "image": image}})
    assert (answer["job"], answer["warnings"]) == ({}, ["the file has no generation data"])


def test_sd_upscale_answers_the_seed_that_makes_its_picture_again(worker: Worker) -> None:
    script = {"script_name": "SD upscale", "script_args": ["", 16, "Lanczos", 2], "width": 64, "height": 64}
    once, again = (worker.run_job({"input": {**START, **script, "seed": seed}}) for seed in (7, 7))
    assert once["seeds"] == again["seeds"] == [7]
    assert once["images"] == again["images"]
