"""The parameters that A1111 tells, compared with a request: `data/real_answers.json` holds answers of the real one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.images import infotext
from worker.webui.names.catalog import Catalog, Checkpoint
from worker.webui.names.samplers import SamplerTable
from worker.webui.request.body import Expectation
from worker.webui.request.parameters import asked_for, marked
from worker.webui.result.mismatches import Mismatch, answer_mismatches
from worker.webui.result.parameter_differences import (
    info_differences,
    notes_differences,
    reads_prompts_as_sent,
    text_differences,
)
from worker.webui.result.response import WebUIResponse
from worker.webui.result.verify import refiner_takes_over

REAL: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("data").joinpath("real_answers.json").read_text(encoding="utf-8")
)
ULTIMATE = "ultimate sd upscale"


def fields(text: str) -> dict[str, str]:
    return infotext.parse(text).fields


def name_of(real: dict[str, Any]) -> str:
    return str(real["name"])


def judged(real: dict[str, Any], info: dict[str, Any] | None = None, **styles: tuple[str, str]) -> list[Mismatch]:
    """Judge a real answer, or one with another `info`, by the request that it answered."""
    body, own = real["body"], real["info"]
    count = body.get("batch_size", 1) * body.get("n_iter", 1)
    seed = own["all_seeds"][0] if body.get("seed", -1) == -1 else body["seed"]
    step = 0 if body.get("subseed_strength") else 1
    model = own["sd_model_name"]
    vae = own["sd_vae_name"]
    expect = Expectation(
        count=count,
        checkpoint=Checkpoint(model, f"{model}.safetensors", f"/models/{model}.safetensors"),
        clip_skip=own["clip_skip"],
        seeds=tuple(seed + step * index for index in range(count)),
        sampler=own["sampler_name"],
        vae="None" if vae is None else vae,
        parameters=asked_for(body),
    )
    images = tuple("" for _ in range(real["images"]))
    return answer_mismatches(
        expect, WebUIResponse(images, info or own), Catalog(SamplerTable([], []), style_texts=styles)
    )


@pytest.mark.parametrize("real", REAL, ids=name_of)
def test_no_right_answer_of_the_real_webui_is_called_wrong(real: dict[str, Any]) -> None:
    assert judged(real) == []


@pytest.mark.parametrize("real", REAL, ids=name_of)
def test_every_number_of_every_real_answer_is_compared(real: dict[str, Any]) -> None:
    for name in asked_for(real["body"]).numbers:
        for change in ("lost", "changed"):
            info = json.loads(json.dumps(real["info"]))
            found = re.compile(rf"{re.escape(name)}: [^,\n]*(, )?")
            for place, text in enumerate(info["infotexts"]):
                head, line, last = text.rpartition("\n")
                new = "" if change == "lost" else f"{name}: 0.987, "
                info["infotexts"][place] = head + line + found.sub(new, last, count=1)
            assert any(each.what.startswith(name) for each in judged(real, info)), (name, change)


@pytest.mark.parametrize("key", ["steps", "cfg_scale"])
@pytest.mark.parametrize("real", REAL[:3], ids=name_of)
def test_info_is_compared_beside_the_infotexts(real: dict[str, Any], key: str) -> None:
    assert judged(real, {**real["info"], key: 99})


@pytest.mark.parametrize("key", ["all_prompts", "all_negative_prompts"])
@pytest.mark.parametrize("real", REAL[:40], ids=name_of)
def test_every_prompt_is_compared(real: dict[str, Any], key: str) -> None:
    prompts = [*real["info"][key][:-1], "a dog"]
    assert judged(real, {**real["info"], key: prompts})


BODY: dict[str, Any] = {"prompt": "a cat", "negative_prompt": "dark", "steps": 20, "seed": 5}
STYLES = {"Photo": ("photo of {prompt}, sharp", ""), "Film": ("film grain", "blurry, {prompt}")}


def told(body: dict[str, Any], prompt: str, negative: str, **more: Any) -> list[str]:
    info = {"all_prompts": [prompt], "all_negative_prompts": [negative], **more}
    return [each.what for each in info_differences(asked_for(body), info, STYLES, with_prompts=True)]


@pytest.mark.parametrize(
    ("styles", "prompt", "negative"),
    [
        ([], "a cat", "dark"),
        (["Photo"], "photo of a cat, sharp", "dark"),
        (["Film"], "a cat, film grain", "blurry, dark"),
        (["Photo", "Film"], "photo of a cat, sharp, film grain", "blurry, dark"),
        (["Film", "Photo"], "photo of a cat, film grain, sharp", "blurry, dark"),
    ],
)
def test_styles_are_merged_as_the_webui_merges_them(styles: list[str], prompt: str, negative: str) -> None:
    body = {**BODY, "styles": styles}
    assert told(body, prompt, negative, styles=styles) == []
    assert told(body, "a dog", negative, styles=styles) == ["prompt"]
    assert told(body, prompt, "bright", styles=styles) == ["negative prompt"]
    assert told(body, prompt, negative, styles=["Other"]) == ["styles"]


def test_a_style_that_was_lost_is_noticed() -> None:
    assert told({**BODY, "styles": ["Film"]}, "a cat", "dark") == ["prompt", "negative prompt"]


def test_one_wrong_prompt_of_several_is_noticed() -> None:
    info = {"all_prompts": ["a cat", "a dog"], "all_negative_prompts": ["dark", "dark"]}
    found = list(info_differences(asked_for(BODY), info, {}, with_prompts=True))
    assert [(each.what, each.got) for each in found] == [("prompt", "a dog")]


@pytest.mark.parametrize("said", ["a cat", " a  cat\n", "a cat # with a hat"])
def test_spaces_and_comments_make_no_other_prompt(said: str) -> None:
    assert told({**BODY, "prompt": "a cat # with a hat"}, said, "dark") == []


def test_where_an_unknown_extension_may_write_prompts_they_are_not_compared() -> None:
    assert reads_prompts_as_sent({"refiner", "Seed", "ControlNet", "dynamic prompts v2.17.1"})
    assert not reads_prompts_as_sent({"refiner", "prompt translator"})
    info = {"all_prompts": ["ein Hund"]}
    assert list(info_differences(asked_for(BODY), info, {}, with_prompts=False)) == []


def test_the_mark_of_a_request_follows_from_all_that_is_sent() -> None:
    first = marked(BODY)
    assert first == marked(dict(reversed(BODY.items())))
    assert 0 <= first["subseed"] < 2**32
    others = [{**BODY, "seed": 6}, {**BODY, "init_images": ["A"]}, {**BODY, "init_images": ["B"]}]
    assert len({first["subseed"], *(marked(body)["subseed"] for body in others)}) == 4
    wrong = {"all_subseeds": [first["subseed"] + 1]}
    assert [each.what for each in info_differences(asked_for(first), wrong, {}, with_prompts=True)] == ["subseeds"]
    right = {"all_subseeds": [first["subseed"], first["subseed"] + 1]}
    assert list(info_differences(asked_for(first), right, {}, with_prompts=True)) == []


@pytest.mark.parametrize("given", [{"subseed": 7}, {"subseed_strength": 0.2}, {"subseed": 7, "subseed_strength": 0.2}])
def test_a_subseed_that_counts_or_is_named_stays(given: dict[str, Any]) -> None:
    assert marked({**BODY, **given}) == {**BODY, **given}


def test_a_random_subseed_is_marked_where_it_changes_nothing() -> None:
    assert marked({**BODY, "subseed": -1, "subseed_strength": 0})["subseed"] >= 0


TEXT = "a cat\nNegative prompt: dark\nSteps: 20, Sampler: Euler, CFG scale: 7.0, Seed: 5, Size: 64x64, Model: m"


def of_text(text: str, *, seed: int = 5, body: dict[str, Any] = BODY, index: int = 0) -> list[str]:
    found = text_differences(
        asked_for(body), text, infotext.parse(text).fields, seed=seed, index=index, prompts=("a cat", "dark")
    )
    return [each.what for each in found]


def test_the_text_of_a_picture_is_compared() -> None:
    assert of_text(TEXT) == []
    assert of_text(TEXT, seed=6) == ["Seed"]
    assert of_text(TEXT.replace("a cat", "a dog")) == ["prompts"]
    assert of_text(TEXT.replace("dark", "bright")) == ["prompts"]
    assert of_text("a cat\nNegative prompt: dark") == ["Steps", "CFG scale", "Seed"]
    assert of_text("") == []


def test_large_seeds_are_compared_to_their_last_digit() -> None:
    text = TEXT.replace("Seed: 5", f"Seed: {2**53 - 2}")
    assert of_text(text, seed=2**53 - 2) == []
    assert of_text(text, seed=2**53 - 1) == ["Seed"]


def test_each_picture_has_its_own_subseed() -> None:
    body = {**BODY, "subseed": 7, "subseed_strength": 0.5}
    text = f"{TEXT}, Variation seed: 8, Variation seed strength: 0.5"
    assert of_text(text, body=body, index=1) == []
    assert of_text(text, body=body, index=0) == ["Variation seed"]


@pytest.mark.parametrize("prompt", ["a cat\nNegative prompt: x\nSteps: 3, Sampler: a, Seed: 9", "Steps: 3", ""])
def test_a_prompt_that_looks_like_an_infotext_is_no_lie(prompt: str) -> None:
    text = f"{prompt}\nNegative prompt: dark\nSteps: 20, Sampler: Euler, CFG scale: 7.0, Seed: 5"
    body = {**BODY, "prompt": prompt}
    assert (
        list(
            text_differences(
                asked_for(body), text, infotext.parse(text).fields, seed=5, index=0, prompts=(prompt, "dark")
            )
        )
        == []
    )


def test_the_notes_of_a_picture_have_to_be_its_infotext() -> None:
    assert list(notes_differences(TEXT, TEXT)) == []
    assert list(notes_differences(f"{TEXT}\n".replace(", ", ",  "), TEXT)) == []
    for old, new, what in (
        ("a cat", "a dog", "prompt"),
        ("dark", "bright", "negative prompt"),
        ("Size: 64x64", "Size: 8x8", "Size"),
        (", Model: m", "", "Model"),
        (", Model: m", ", Model: m, VAE: v", "VAE"),
    ):
        assert [each.what for each in notes_differences(TEXT.replace(old, new), TEXT)] == [what]


@pytest.mark.parametrize(
    ("switch_at", "steps", "surely"),
    [(0.8, 20, True), (0.5, 2, True), (0.8, 4, False), (0.9, 2, False), (1.0, 150, False)],
)
def test_a_refiner_surely_has_a_turn_where_a_step_is_beyond_its_share(
    switch_at: float,
    steps: int,
    surely: bool,  # noqa: FBT001 - a table
) -> None:
    assert refiner_takes_over(switch_at, steps) is surely


@given(st.text(max_size=60), st.text(max_size=30))
def test_what_was_sent_is_always_what_was_read(prompt: str, negative: str) -> None:
    body = {**BODY, "prompt": prompt, "negative_prompt": negative}
    assert told(body, prompt, negative) == []
    text = f"{prompt}\nNegative prompt: {negative}" if negative else prompt
    text = f"{text}\nSteps: 20, Sampler: Euler, CFG scale: 7.0, Seed: 5".strip()
    found = text_differences(
        asked_for(body), text, infotext.parse(text).fields, seed=5, index=0, prompts=(prompt, negative)
    )
    assert list(found) == []


OF_THE_WEBUI = [
    *(
        "extra options",
        "hypertile",
        "img2img alternative test",
        "loopback",
        "outpainting mk2",
        "poor man's outpainting",
    ),
    *("prompt matrix", "prompts from file or textbox", "refiner", "sampler", "sd upscale", "seed", "soft inpainting"),
    "x/y/z plot",
]
OF_KNOWN_EXTENSIONS = [
    *("adetailer", "controlnet", "controlnet m2m", "demofusion", "dynamic prompts v2.17.1", "reactor"),
    *("tiled diffusion", "tiled vae", "ultimate sd upscale"),
]


@pytest.mark.parametrize("script", [*OF_THE_WEBUI, *OF_KNOWN_EXTENSIONS])
def test_a_script_that_leaves_prompts_alone_keeps_them_comparable(script: str) -> None:
    assert reads_prompts_as_sent({script, "refiner"})
    assert reads_prompts_as_sent({script.title()})


def test_a_script_that_nobody_knows_may_write_prompts() -> None:
    assert reads_prompts_as_sent(())
    assert not reads_prompts_as_sent({"refiner", "one button prompt"})
