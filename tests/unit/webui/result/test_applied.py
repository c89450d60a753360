"""What an infotext of the real A1111 says was applied beside checkpoint, VAE, LoRAs and sampler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from worker.webui.result.applied import extras_of

REAL = {
    real["name"]: real
    for real in json.loads(Path(__file__).with_name("data").joinpath("real_answers.json").read_text(encoding="utf-8"))
}


def of(name: str, *embeddings: str) -> dict[str, Any]:
    real: dict[str, Any] = REAL[name]
    return extras_of(real["info"]["infotexts"][0], embeddings)


NOTHING: dict[str, Any] = {"refiner": None, "hires": None, "embeddings": [], "controlnet": [], "adetailer": []}


@pytest.mark.parametrize("name", ["base0", "i2i_min", "inp_basic", "seed_batch3"])
def test_a_plain_picture_has_nothing_else(name: str) -> None:
    assert of(name) == NOTHING


def test_a_text_that_is_no_infotext_has_nothing() -> None:
    assert extras_of("", ["x"]) == NOTHING


def test_a_refiner_is_told_with_its_share() -> None:
    assert of("refiner") == {**NOTHING, "refiner": {"checkpoint": "Other_v1", "switch_at": 0.5}}


def test_a_second_pass_is_told_with_all_that_it_changed() -> None:
    assert of("hr_sampler_ckpt")["hires"] == {
        "upscaler": "Latent",
        "scale": 2.0,
        "denoising_strength": 0.4,
        "checkpoint": "Other_v1",
        "sampler": "Euler a",
        "scheduler": "Karras",
        "prompt": "dog",
    }
    assert of("hr_latent")["hires"]["steps"] == 2
    assert of("hr_lanczos_resize")["hires"] == {
        "upscaler": "Lanczos",
        "denoising_strength": 0.4,
        "width": 96,
        "height": 128,
    }


def test_embeddings_are_told_where_a_prompt_names_them() -> None:
    assert of("ti_ok", "goodemb", "other", "good")["embeddings"] == ["goodemb"]
    text = "a cat\nNegative prompt: (EasyNegative:1.2)\nSteps: 3, Sampler: Euler, CFG scale: 7"
    assert extras_of(text, ["easynegative", "cat-x"])["embeddings"] == ["easynegative"]


def test_controlnet_units_and_passes_of_adetailer_are_told_one_by_one() -> None:
    found = of("ad_and_cn")
    assert found["controlnet"] == [
        {
            "module": "canny",
            "model": found["controlnet"][0]["model"],
            "weight": 1.0,
            "guidance_start": 0.0,
            "guidance_end": 1.0,
            "control_mode": "Balanced",
        }
    ]
    assert found["controlnet"][0]["model"].startswith("control_v11p_sd15_canny")
    assert next(each["model"] for each in found["adetailer"]) == "face_yolov8n.pt"
    two = of("ad_batch2")["adetailer"]
    assert [(each["model"], each["confidence"]) for each in two] == [
        ("face_yolov8n.pt", 0.0),
        ("mediapipe_face_full", 0.3),
    ]


def test_all_ten_passes_of_adetailer_are_told_in_their_order() -> None:
    endings = ["", " 2nd", " 3rd", *(f" {number}th" for number in range(4, 11))]
    told = ", ".join(f"ADetailer model{ending}: {number}.pt" for number, ending in enumerate(endings))
    found = extras_of(f"a cat\nSteps: 3, Sampler: Euler, CFG scale: 7, {told}", [])["adetailer"]
    assert found == [{"model": f"{number}.pt"} for number in range(10)]
