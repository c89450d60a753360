"""Pools, random LoRAs, presets by role and the facts beside each picture, through the whole worker."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.integration.conftest import Worker
from tests.support import models
from tests.support.webui_dir import environment, running_host

if TYPE_CHECKING:
    from collections.abc import Iterator

PRESETS = """
luca:
  role: character
  base_model: SD 1.5
  prompt: {before: luca}
  negative: {add: beard}
  loras: [{name: add_detail, scale: 0.6}]
xl: {role: character, base_model: SDXL, prompt: {before: xl}}
beach: {role: scene, prompt: {after: on a beach}}
"""
LORAS = """
largest_sum: {scale: 2, action: error}
folders:
  character: {scale: 0.7, put_words: before}
files:
  character/luca_face: {trigger_words: [lucaface], conflicts: [character/mia_face]}
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("studio")
    environment(folder)
    root = folder / "models"
    (root / "wildcards").mkdir()
    (root / "wildcards/options.txt").write_text("".join(f"line {number}\n" for number in range(8)))
    (root / "presets.yaml").write_text(PRESETS)
    (root / "loras.yaml").write_text(LORAS)
    for name in ("luca_face", "mia_face"):
        models.lora(root / f"loras/character/{name}.safetensors")
    (root / "loras/character/mia_face.json").write_text(
        json.dumps({"activation text": "miaface, freckles", "preferred weight": 0.5, "sd version": "SD1"})
    )
    with running_host(folder) as host:
        yield Worker(host)


def pixels(image: str) -> bytes:
    return Image.open(io.BytesIO(base64.b64decode(image))).tobytes()


def test_twenty_seeds_draw_every_count_and_each_pictures_job_makes_it_again(studio: Worker) -> None:
    counts = set()
    for seed in range(20):
        answer = studio.run(seed=seed, pool={"from": "options", "count": [0, 5]}, output={"metadata": True})
        (row,) = answer["pictures"]
        lines = row["prompt"].split(", ")[1:]
        counts.add(len(lines))
        assert len(set(lines)) == len(lines)
        again = studio.run_job({"input": row["metadata"]["job"]})
        assert pixels(again["images"][0]) == pixels(answer["images"][0])
    assert counts == {0, 1, 2, 3, 4, 5}


def test_each_picture_of_a_batch_is_made_again_by_its_own_facts(studio: Worker) -> None:
    answer = studio.run(
        seed=3,
        n_iter=2,
        batch_size=2,
        loras=[{"one_of": "character/*", "scale": [0.4, 0.9]}],
        pool={"from": "options", "count": [0, 2]},
        character="luca",
        scene="beach",
        output={"metadata": True},
    )
    assert [row["index"] for row in answer["pictures"]] == [0, 1, 2, 3]
    assert [row["seed"] for row in answer["pictures"]] == answer["seeds"] == [3, 4, 5, 6]
    assert len({pixels(image) for image in answer["images"]}) == 4
    for row, image in zip(answer["pictures"], answer["images"], strict=True):
        facts = row["metadata"]
        assert row["prompt"] == facts["prompt"] == facts["job"]["prompt"]
        assert [lora["name"] for lora in facts["loras"]] == [lora["name"] for lora in row["loras"]]
        assert all(len(lora["sha256"]) == 64 for lora in facts["loras"])
        assert facts["models"]["checkpoint"]["name"] == row["checkpoint"]
        assert facts["versions"]["worker"]
        again = studio.run_job({"input": facts["job"]})
        assert pixels(again["images"][0]) == pixels(image)
        assert again["pictures"][0]["prompt"] == row["prompt"]


def test_a_variation_is_made_again_with_its_own_subseed(studio: Worker) -> None:
    answer = studio.run(n_iter=2, subseed_strength=0.5, output={"metadata": True})
    for row, image in zip(answer["pictures"], answer["images"], strict=True):
        again = studio.run_job({"input": row["metadata"]["job"]})
        assert pixels(again["images"][0]) == pixels(image)


def test_a_second_pass_and_the_format_are_made_again(studio: Worker) -> None:
    hires = {"scale": 2, "denoising_strength": 0.5, "prompt": "finer", "upscaler": "Latent"}
    output = {"metadata": True, "format": "webp", "lossless": True}
    loras = [{"name": "character/mia_face", "trigger_words": True}]
    answer = studio.run(hires=hires, loras=loras, output=output)
    facts = answer["pictures"][0]["metadata"]
    assert [stage["type"] for stage in facts["stages"]] == ["txt2img", "hires"]
    assert facts["job"]["hr_prompt"] == "finer, miaface, freckles"
    again = studio.run_job({"input": facts["job"]})
    assert pixels(again["images"][0]) == pixels(answer["images"][0])


def test_pictures_that_the_client_sent_are_left_out_inline_and_named(studio: Worker) -> None:
    start = studio.run()["images"][0]
    answer = studio.run(init_images=[start], denoising_strength=0.4, output={"metadata": True})
    facts = answer["pictures"][0]["metadata"]
    assert facts["job_lacks"] == ["init_images[0]"]
    assert start not in json.dumps(facts)
    again = studio.run_job({"input": {**facts["job"], "init_images": [start]}})
    assert pixels(again["images"][0]) == pixels(answer["images"][0])


def test_every_kind_of_job_that_makes_pictures_has_rows(studio: Worker) -> None:
    start = studio.run()["images"][0]
    answer = studio.run_job({"input": {"type": "upscale", "image": start, "output": {"metadata": True}}})
    (row,) = answer["pictures"]
    assert (row["seed"], row["prompt"], row["checkpoint"], row["loras"]) == (None, None, None, [])
    assert row["size"] == answer["applied"]["size"] == {"width": 128, "height": 128}
    assert row["metadata"]["job"]["type"] == "upscale"
    assert "metadata" not in studio.run()["pictures"][0]
    several = studio.run_job({"input": {"prompts": ["a", "b"], "steps": 1, "width": 64, "height": 64}})
    assert [row["prompt"] for row in several["pictures"]] == ["a", "b"]


def test_the_operators_rules_give_scales_and_place_trigger_words(studio: Worker) -> None:
    answer = studio.run(loras=["character/luca_face"])
    assert answer["pictures"][0]["prompt"] == "lucaface, a cat"
    assert [(lora["name"], lora["scale"]) for lora in answer["applied"]["loras"]] == [("luca_face", 0.7)]
    without = studio.run(loras=[{"name": "character/luca_face", "trigger_words": False}])
    assert without["pictures"][0]["prompt"] == "a cat"
    behind = studio.run(loras=[{"name": "character/mia_face", "trigger_words": "after"}])
    assert behind["pictures"][0]["prompt"] == "a cat, miaface, freckles"


def test_loras_that_conflict_or_are_too_strong_together_are_refused(studio: Worker) -> None:
    both = studio.run(loras=["character/luca_face", "character/mia_face"])
    assert both["details"]["problems"][0]["path"] == "loras[0]"
    strong = studio.run(loras=[{"name": "character/mia_face", "scale": 1.5}, {"name": "add_detail", "scale": 0.6}])
    assert "add up to 2.1" in strong["error"]
    nothing = studio.run(loras=[{"one_of": "charcter/*"}])
    assert nothing["details"]["problems"][0]["path"] == "loras[0].one_of"


def test_presets_add_up_and_are_told(studio: Worker) -> None:
    loras = [{"name": "add_detail", "scale": 0.2}]
    answer = studio.run(character="luca", scene="beach", prompt="running", negative_prompt="rain", loras=loras)
    preset = answer["applied"]["preset"]
    assert preset["prompt"] == answer["pictures"][0]["prompt"] == "luca, running, on a beach"
    assert preset["negative_prompt"] == "rain, beard"
    assert [(lora["name"], lora["scale"]) for lora in answer["applied"]["loras"]] == [("add_detail", 0.2)]


def test_a_character_of_another_base_model_is_refused(studio: Worker) -> None:
    answer = studio.run(character="xl")
    assert answer["error_code"] == "incompatible_model"
    assert answer["details"]["path"] == "character"
    assert "made for SDXL" in answer["error"]


def test_presets_are_listed_by_role(studio: Worker) -> None:
    every = studio.run_job({"input": {"type": "presets"}})["items"]
    assert {"luca", "beach", "high", "sdxl-2:3", "photo"} <= {preset["name"] for preset in every}
    characters = studio.run_job({"input": {"type": "presets", "role": "character"}})["items"]
    assert [preset["name"] for preset in characters] == ["luca", "xl"]
    wrong = studio.run_job({"input": {"type": "samplers", "role": "character"}})
    assert wrong["details"]["problems"][0]["path"] == "role"
