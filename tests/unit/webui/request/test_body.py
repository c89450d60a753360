"""From a settled job to the body of A1111's API and to what its answer has to show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from worker.contract.parse.job_parser import parse_job
from worker.contract.rules.sizes import Size
from worker.webui import api_paths
from worker.webui.names.catalog import Baseline, Checkpoint
from worker.webui.names.lora_tags import ChosenLora
from worker.webui.names.name_resolver import Chosen
from worker.webui.names.samplers import Sampler, SamplerTable, Sampling, Scheduler
from worker.webui.request import body
from worker.webui.request.body import Expectation, Request, Start

MODEL = Checkpoint("m", "m.safetensors [0123456789]", "/models/m.safetensors", "0123456789")
OTHER = Checkpoint("other", "other.safetensors", "/models/other.safetensors")
NAMES = SamplerTable(
    [Sampler("Euler"), Sampler("Euler a"), Sampler("DPM++ 2M", scheduler="karras")], [Scheduler("karras", "Karras")]
)
HIRES: dict[str, Any] = {"enable_hr": True, "denoising_strength": 0.5}
SENT = "A" * 64


def request(
    chosen: Chosen = Chosen(MODEL),  # noqa: B008 - frozen
    batches: tuple[int, int] = (1, 1),
    baseline: Baseline = Baseline(),  # noqa: B008 - frozen
    **fields: Any,
) -> Request:
    job: Any = parse_job({"prompt": "a cat", **fields})
    if job.kind == "txt2img":
        return body.txt2img(job, chosen, NAMES, seed=5, batches=batches, baseline=baseline)
    start = Start(("AAAA",), Size(64, 96), mask="MMMM" if job.kind == "inpaint" else None)
    return body.img2img(job, chosen, NAMES, seed=5, batches=batches, baseline=baseline, start=start)


def expected(**fields: Any) -> Expectation:
    return request(**fields).expect


def test_only_what_the_client_set_is_sent() -> None:
    sent = request(steps=20, cfg_scale=5).body
    assert sent == {
        "prompt": "a cat",
        "steps": 20,
        "cfg_scale": 5,
        "seed": 5,
        "override_settings": {"sd_model_checkpoint": MODEL.title},
    }


@pytest.mark.parametrize(
    ("fields", "operators", "layers"), [({}, 1, 1), ({}, 2, 2), ({"clip_skip": 3}, 2, 3), ({"clip_skip": 1}, 2, 1)]
)
def test_the_operators_clip_skip_holds_where_the_job_has_none(
    fields: dict[str, Any], operators: int, layers: int
) -> None:
    made = request(baseline=Baseline(clip_skip=operators), **fields)
    assert made.expect.clip_skip == layers
    assert made.body["override_settings"].get("CLIP_stop_at_last_layers") == fields.get("clip_skip")


@pytest.mark.parametrize(
    ("chosen", "operators", "vae"),
    [
        (None, "Automatic", None),
        (None, "v.pt", "v.pt"),
        ("None", "v.pt", "None"),
        ("w.pt", "Automatic", "w.pt"),
        ("Automatic", "v.pt", None),
    ],
)
def test_the_operators_vae_holds_where_the_job_has_none(chosen: str | None, operators: str, vae: str | None) -> None:
    made = request(Chosen(MODEL, vae=chosen), baseline=Baseline(vae=operators))
    assert made.expect.vae == vae
    assert made.body["override_settings"].get("sd_vae") == chosen


def test_styles_are_sent_as_the_webui_lists_them() -> None:
    made = request(Chosen(MODEL, styles=("Detailed",)), styles=["detailed"])
    assert made.body["styles"] == ["Detailed"]
    assert made.expect.parameters is not None
    assert made.expect.parameters.styles == ("Detailed",)


def test_a_second_pass_has_to_show_its_checkpoint_sampler_and_upscaler() -> None:
    chosen = Chosen(
        MODEL,
        sampling=Sampling("Euler", None),
        hr_sampling=Sampling("Euler a", "Karras"),
        hr_checkpoint=OTHER,
        hr_upscaler="Latent",
    )
    made = request(chosen, **HIRES)
    assert made.expect.extras == {"Hires upscaler": "Latent", "Hires checkpoint": OTHER, "Hires sampler": "Euler a"}
    assert made.body["hr_checkpoint_name"] == OTHER.title
    assert (made.body["hr_sampler_name"], made.body["hr_scheduler"]) == ("Euler a", "Karras")


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("Euler", "Euler", None),
        (None, "Euler", None),
        ("Euler a", "Euler a", None),
        ("Euler a", None, None),
        (None, "Euler a", "Euler a"),
        ("Euler a", "Euler", "Euler"),
    ],
)
def test_the_webui_tells_the_second_passs_sampler_only_where_it_is_another(
    first: str | None, second: str | None, told: str | None
) -> None:
    chosen = Chosen(MODEL, sampling=Sampling(first, None), hr_sampling=Sampling(second, None))
    assert request(chosen, **HIRES).expect.extras.get("Hires sampler") == told


def test_without_a_second_pass_nothing_of_it_is_expected() -> None:
    chosen = Chosen(MODEL, hr_sampling=Sampling("Euler a", None), hr_checkpoint=OTHER, hr_upscaler="Latent")
    assert request(chosen).expect.extras == {}


@pytest.mark.parametrize(("switch_at", "told"), [(0.0, True), (0.8, True), (1.0, False)])
def test_a_refiner_is_told_where_it_has_a_turn(switch_at: float, told: bool) -> None:  # noqa: FBT001 - a table
    made = request(Chosen(MODEL, refiner=OTHER), refiner_checkpoint="other", refiner_switch_at=switch_at)
    assert made.body["refiner_checkpoint"] == OTHER.title
    assert ("Refiner" in made.expect.extras) is told


def test_every_lora_has_to_be_read_and_applied() -> None:
    chosen = Chosen(MODEL, loras=(ChosenLora("x", 0.5, "loras[0]"),), words=("glow",))
    made = request(chosen, prompt="a cat <lora:y:1>")
    assert made.body["prompt"] == "a cat <lora:y:1>, glow <lora:x:0.5>"
    assert made.expect.tags == ("<lora:y:1>", "<lora:x:0.5>")
    assert [lora.name for lora in made.expect.loras] == ["x"]
    assert request(chosen, disable_extra_networks=True).expect.loras == ()


def test_loras_of_both_passes_are_expected_once_by_name_and_scale() -> None:
    tagged = (ChosenLora("x", 0.5, "prompt"), ChosenLora("x", 0.5, "hr_prompt"), ChosenLora("x", 0.8, "hr_prompt"))
    listed = (ChosenLora("y", 0.5, "loras[0]"),)
    expected_loras = request(Chosen(MODEL, tagged=tagged, loras=listed)).expect.loras
    assert sorted((lora.name, lora.scale) for lora in expected_loras) == [("x", 0.5), ("x", 0.8), ("y", 0.5)]


@pytest.mark.parametrize(("strength", "seeds"), [(None, (5, 6, 7)), (0, (5, 6, 7)), (0.5, (5, 5, 5))])
def test_with_a_variation_the_seed_stays_the_same(strength: float | None, seeds: tuple[int, ...]) -> None:
    fields: dict[str, Any] = {} if strength is None else {"subseed": 3, "subseed_strength": strength}
    assert expected(batches=(3, 1), **fields).seeds == seeds


def test_the_sampler_that_nobody_named_is_the_webuis_own_with_its_schedule() -> None:
    assert (expected().sampler, expected().schedule) == ("Euler", "Automatic")
    chosen = Chosen(MODEL, sampling=Sampling("DPM++ 2M", None))
    assert (expected(chosen=chosen).sampler, expected(chosen=chosen).schedule) == ("DPM++ 2M", "Karras")


def test_a_start_picture_and_its_noise_are_sent() -> None:
    made = request(
        type="img2img",
        init_images=[SENT],
        override_settings={"initial_noise_multiplier": 0.9},
        denoising_strength=0.4,
    )
    assert (made.path, made.body["init_images"]) == (api_paths.IMG2IMG, ["AAAA"])
    assert (made.body["width"], made.body["height"]) == (64, 96)
    assert made.body["initial_noise_multiplier"] == 0.9
    assert made.expect.from_picture
    assert made.expect.size == Size(64, 96)
    assert made.expect.parameters is not None
    assert made.expect.parameters.numbers["Denoising strength"] == 0.4
    assert not expected().from_picture


def test_a_mask_is_sent_where_there_is_one() -> None:
    assert request(type="inpaint", init_images=[SENT], mask=SENT).body["mask"] == "MMMM"
    assert "mask" not in request(type="img2img", init_images=[SENT]).body


def test_pictures_are_not_repeated_to_the_client() -> None:
    made = request(type="img2img", init_images=[SENT])
    deep = replace(made, body={**made.body, "alwayson_scripts": {"controlnet": {"args": [{"image": "BBB"}]}}})
    assert deep.parameters()["init_images"] == ["<picture, 4 characters>"]
    assert deep.parameters()["alwayson_scripts"] == {"controlnet": {"args": [{"image": "<picture, 3 characters>"}]}}
    assert deep.parameters()["prompt"] == "a cat"


def test_the_steps_of_a_request_are_the_jobs_or_the_webuis_own() -> None:
    start = {"init_images": [SENT]}
    assert [request(**fields).steps for fields in ({"steps": 7}, {}, {**start, "steps": 7}, start)] == [7, 50, 7, 50]
