"""Bodies that A1111 draws by defaults and readings of its own make its picture here too, pixel for pixel."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
from PIL import Image

from tests.support.rig import SMALL, pixels
from tests.support.served import base64_png, picture, warnings_of

if TYPE_CHECKING:
    from tests.support.served import Served

START = base64_png()
BLACK, WHITE = (base64_png(Image.new("L", (64, 64), shade)) for shade in (0, 255))
FROM_PICTURE = {**SMALL, "init_images": [START], "denoising_strength": 0.5}
MASKED = {**FROM_PICTURE, "mask": base64_png(picture(colour="black"))}
LARGER = {"image": START, "upscaler_1": "Lanczos"}

BODIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a refiner without its step": ("txt2img", {**SMALL, "refiner_checkpoint": "Other_v1"}, "makes the picture alone"),
    "a refiner that is the checkpoint": (
        "txt2img",
        {**SMALL, "refiner_checkpoint": "Deliberate_v6", "refiner_switch_at": 0.5},
        "refines nothing",
    ),
    "sides of no whole cells": ("txt2img", {**SMALL, "width": 100, "height": 70}, "width: 100 is read as 96"),
    "an empty sampler": ("txt2img", {**SMALL, "sampler_index": ""}, "is read as 'DPM++ 2M'"),
    "notes of a screen": ("txt2img", {**SMALL, "comments": {"a": "b"}}, "comments is ignored"),
    "names that only our jobs read": (
        "txt2img",
        {**SMALL, "type": "txt2img", "style": "anime", "output": "png", "clip_skip": 0},
        "style is ignored",
    ),
    "a tag that is off": ("txt2img", {**SMALL, "prompt": "a <lora:none:1>", "disable_extra_networks": True}, ""),
    "a blank mask": ("img2img", {**FROM_PICTURE, "mask": BLACK}, "black all over"),
    "a blank mask on the whole picture": (
        "img2img",
        {**FROM_PICTURE, "mask": BLACK, "inpaint_full_res": False},
        "black all over",
    ),
    "a mask inverted to nothing": (
        "img2img",
        {**FROM_PICTURE, "mask": WHITE, "inpainting_mask_invert": 1},
        "white all over",
    ),
    "a number for a switch": ("img2img", {**MASKED, "inpainting_mask_invert": 64}, "64 is read as 1"),
    "a picture each": ("img2img", {**FROM_PICTURE, "init_images": [START, BLACK], "batch_size": 2, "n_iter": 2}, ""),
    "no upscaler": ("extra-single-image", {"image": START}, ""),
    "a size that is not by size": ("extra-single-image", {**LARGER, "upscaling_resize_w": 100}, "by factor"),
    "a size of one side": ("extra-single-image", {**LARGER, "resize_mode": 1, "upscaling_resize_w": 100}, ""),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_makes_the_picture_that_a1111_makes_of_it(door: Served, case: str) -> None:
    path, body, told = BODIES[case]
    here = door.post(f"/sdapi/v1/{path}", body)
    assert here.status_code == 200, here.text
    there = requests.post(f"{door.webui}/sdapi/v1/{path}", json=body, timeout=60).json()
    assert drawn(here.json()) == drawn(there)
    assert listed(here.json()) == listed(there)
    assert told in " ".join(warnings_of(here))
    assert bool(told) == bool(warnings_of(here))


def test_a_batch_larger_than_its_start_pictures_makes_one_of_each(door: Served) -> None:
    body = {**FROM_PICTURE, "init_images": [START, BLACK], "batch_size": 3}
    there = requests.post(f"{door.webui}/sdapi/v1/img2img", json=body, timeout=60).json()
    assert drawn(door.post("/sdapi/v1/img2img", body).json()) == drawn(there)


def listed(answer: dict[str, Any]) -> tuple[list[int], list[str]] | None:
    """The seeds and prompts of all pictures, in clients' reach."""
    if "info" not in answer:
        return None
    info = json.loads(answer["info"])
    assert len(info["infotexts"]) == len(answer["images"])
    return info["all_seeds"], info["all_prompts"]


def drawn(answer: dict[str, Any]) -> list[str]:
    return [pixels(image) for image in answer.get("images") or [answer["image"]]]
