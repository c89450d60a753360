"""Rules between the fields of a job: for each a job that breaks it, and the nearest one that does not."""

from __future__ import annotations

from typing import Any

import pytest

from worker.contract.accept import accept
from worker.contract.base.limits import Limits
from worker.contract.parse.job_parser import parse_job
from worker.contract.types.job import Generation
from worker.errors import InvalidInput

PICTURE = "key:made.png"
START = {"prompt": "a cat", "init_images": [PICTURE]}
UPSCALE = {"type": "upscale", "image": PICTURE, "upscaler": "Lanczos"}
UNIT = {"module": "canny", "model": "control_canny"}
LIMITS = Limits(max_images=4, max_pixels=1024 * 1024)


def places(job: dict[str, Any]) -> list[str]:
    """Return where the mistakes of a job are."""
    try:
        parse_job(job, limits=LIMITS)
    except InvalidInput as wrong:
        return [problem.path for problem in wrong.problems]
    return []


def tiled(tiles: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {**START, "denoising_strength": 0.5, "tiles": {"size": 512, **(tiles or {})}, **fields}


def txt(**fields: Any) -> dict[str, Any]:
    return {"prompt": "a cat", **fields}


def made_anew(**fields: Any) -> dict[str, Any]:
    return {**START, "type": "inpaint", "mask": PICTURE, **fields}


def test_a_role_is_of_presets_alone() -> None:
    assert places({"type": "presets", "role": "character"}) == []
    assert places({"type": "samplers", "role": "character"}) == ["role"]


def grown(**outpaint: int) -> dict[str, Any]:
    return {**START, "type": "inpaint", "outpaint": outpaint}


@pytest.mark.parametrize(
    ("wrong", "path", "right"),
    [
        # tiles
        (tiled({"size": 1536}), "tiles.size", tiled({"size": 1024})),
        (
            tiled({"denoising_strength": 0.4}),
            "tiles.denoising_strength",
            tiled({"denoising_strength": 0.5}),
        ),
        (
            tiled({"refiner": {"checkpoint": "r"}}),
            "tiles.refiner.switch_at",
            tiled({"refiner": {"checkpoint": "r", "switch_at": 0.5}}),
        ),
        (
            tiled({"refiner": {"switch_at": 0.5}}),
            "tiles.refiner.checkpoint",
            tiled({"refiner": {"checkpoint": "r", "switch_at": 0.5}}),
        ),
        (
            tiled({"controlnet": [{**UNIT, "image": PICTURE}]}),
            "tiles.controlnet[0].image",
            tiled({"controlnet": [UNIT]}),
        ),
        (
            tiled(controlnet=[UNIT, {**UNIT, "image": PICTURE}]),
            "controlnet[1].image",
            tiled(controlnet=[UNIT, {**UNIT, "image": PICTURE, "enabled": False}]),
        ),
        (tiled({"controlnet": [UNIT]}, controlnet=[UNIT]), "tiles.controlnet", tiled({"controlnet": [UNIT]})),
        (tiled(batch_size=2), "tiles", tiled(batch_size=1)),
        (tiled(n_iter=2), "tiles", tiled(n_iter=1)),
        (tiled(mask=PICTURE, type="inpaint"), "tiles", made_anew()),
        (tiled(tiling=True), "tiling", tiled(tiling=False)),
        (tiled(subseed_strength=0.1), "subseed_strength", tiled(subseed_strength=0)),
        (tiled(resize_mode=1), "resize_mode", tiled(resize_mode=0)),
        # LoRAs
        (
            {"type": "prefetch", "loras": ["a", {"one_of": ["b", "c"]}]},
            "loras[1].one_of",
            {"type": "prefetch", "loras": ["a", "b"]},
        ),
        (txt(loras=["a"], disable_extra_networks=True), "loras", txt(loras=["a"], disable_extra_networks=False)),
        # how many, and how large
        (txt(n_iter=5), "n_iter", txt(n_iter=4)),
        (txt(batch_size=3, n_iter=2), "n_iter", txt(batch_size=2, n_iter=2)),
        (txt(seeds=[1, 2, 3, 4, 5]), "seeds", txt(seeds=[1, 2, 3, 4])),
        ({**START, "init_images": [PICTURE] * 5}, "init_images", {**START, "init_images": [PICTURE] * 4}),
        (
            {"prompts": [{"prompt": "a", "n_iter": 3}, {"prompt": "b", "batch_size": 2}]},
            "prompts",
            {"prompts": [{"prompt": "a", "n_iter": 2}, {"prompt": "b", "batch_size": 2}]},
        ),
        (txt(width=1024, height=1032), "height", txt(width=1024, height=1024)),
        (txt(width=1032, height=1024), "width", txt(width=1024, height=1024)),
        (
            txt(hires={"scale": 2.1, "denoising_strength": 0.5}, width=512, height=512),
            "hires.scale",
            txt(hires={"scale": 2, "denoising_strength": 0.5}, width=512, height=512),
        ),
        (
            {"prompts": [{"prompt": "a"}, {"prompt": "b", "width": 1600, "height": 1600}]},
            "prompts[1].width",
            {"prompts": [{"prompt": "a"}, {"prompt": "b", "width": 1024, "height": 1024}]},
        ),
        # several in one
        (txt(seeds=[1, 2], seed=3), "seeds", txt(seeds=[1, 2])),
        (txt(seeds=[1, 2], n_iter=3), "seeds", txt(seeds=[1, 2], n_iter=2)),
        ({"prompts": ["a", "b"], "seeds": [1, 2]}, "seeds", {"prompts": ["a", "b"], "seed": 1}),
        (txt(prompts=["a", "b"]), "prompts", {"prompts": ["a", "b"]}),
        (
            txt(seeds=[1, 2], plot={"x": {"field": "steps", "values": [1, 2]}}),
            "plot",
            txt(seed=1, plot={"x": {"field": "steps", "values": [1, 2]}}),
        ),
        # extensions
        (txt(controlnet=[UNIT]), "controlnet[0].image", txt(controlnet=[{**UNIT, "image": PICTURE}])),
        (
            txt(controlnet=[{"module": "canny", "image": PICTURE}]),
            "controlnet[0].model",
            txt(controlnet=[{"module": "reference_only", "image": PICTURE}]),
        ),
        (
            txt(controlnet=[{**UNIT, "model": "None", "image": PICTURE}]),
            "controlnet[0].model",
            txt(controlnet=[{**UNIT, "model": "None", "image": PICTURE, "enabled": False}]),
        ),
        (txt(adetailer=[{"model": "None"}]), "adetailer[0].model", txt(adetailer=[{"model": "face_yolov8n.pt"}])),
        # start pictures and masks
        (made_anew(init_images=[PICTURE] * 2), "init_images", made_anew()),
        ({**START, "type": "inpaint"}, "mask", made_anew()),
        (grown(left=0), "outpaint", grown(bottom=64)),
        ({**grown(top=64), "width": 512}, "outpaint", grown(top=64)),
        ({**grown(top=64), "height": 512}, "outpaint", grown(right=64)),
        # upscaling
        ({**UPSCALE, "scale": 2, "width": 64, "height": 64}, "scale", {**UPSCALE, "width": 64, "height": 64}),
        ({**UPSCALE, "width": 64}, "height", {**UPSCALE, "width": 64, "height": 64}),
        ({**UPSCALE, "height": 64}, "width", {**UPSCALE, "width": 64, "height": 64}),
        (
            {**UPSCALE, "scale": 2, "upscaler_2": "Nearest"},
            "extras_upscaler_2_visibility",
            {**UPSCALE, "scale": 2, "upscaler_2": "Nearest", "extras_upscaler_2_visibility": 0.5},
        ),
        # samplers and refiners
        (txt(sampler_name="UniPC", steps=2), "steps", txt(sampler_name="UniPC", steps=3)),
        (
            txt(hires={"scale": 1.5, "denoising_strength": 0.5, "sampler": "UniPC", "steps": 2}, steps=20),
            "hires.steps",
            txt(hires={"scale": 1.5, "denoising_strength": 0.5, "sampler": "UniPC", "steps": 3}, steps=20),
        ),
        (
            txt(hires={"scale": 1.5, "denoising_strength": 0.5, "sampler": "UniPC"}, steps=2),
            "steps",
            txt(hires={"scale": 1.5, "denoising_strength": 0.5, "sampler": "UniPC"}, steps=3),
        ),
        (
            txt(refiner={"checkpoint": "r"}),
            "refiner.switch_at",
            txt(refiner={"checkpoint": "r", "switch_at": 0.8}),
        ),
        (txt(enable_hr=True), "denoising_strength", txt(enable_hr=True, denoising_strength=0.5)),
        # what the picture is kept as
        (
            txt(output={"format": "jpeg", "lossless": True}),
            "output.lossless",
            txt(output={"format": "webp", "lossless": True}),
        ),
    ],
)
def test_each_rule_is_told_at_its_field_and_holds_no_further(
    wrong: dict[str, Any], path: str, right: dict[str, Any]
) -> None:
    assert places(wrong) == [path]
    assert places(right) == []


@pytest.mark.parametrize(
    "name",
    [
        *("action", "alwayson_scripts", "compat", "dynamic_prompts", "return", "sampler_index", "script_args"),
        *("script_name", "firstphase_width", "firstphase_height", "firstpass_image", "latent_mask", "comments"),
        *("infotext", "save_images", "send_images", "steps", "mask", "image"),
    ],
)
def test_an_empty_field_that_some_job_or_client_has_is_not_called_unknown(name: str) -> None:
    job = accept({"prompt": "a cat", name: ""}).job
    assert isinstance(job, Generation)
    assert job.warnings == ()
    unknown = accept({"prompt": "a cat", f"{name}_x": ""}).job
    assert isinstance(unknown, Generation)
    assert list(unknown.warnings) == [f"{name}_x is ignored: not a field that this worker reads"]


@pytest.mark.parametrize(
    ("fields", "said", "silent"),
    [
        (
            txt(refiner={"switch_at": 0.8}),
            "refiner_switch_at has no effect without refiner_checkpoint",
            txt(refiner={"checkpoint": "r", "switch_at": 0.8}),
        ),
        (txt(refiner={"checkpoint": "r", "switch_at": 1}), "leaves the refiner no step", txt()),
        (txt(refiner={"checkpoint": "r", "switch_at": 0}), "leaves the checkpoint no step", txt()),
        (txt(sampler_name="Euler a", eta=0), "eta 0 takes the noise out of Euler a", txt(sampler_name="Euler", eta=0)),
        (
            txt(sampler_name="DPM++ 2S a Karras", override_settings={"eta_ancestral": 0}),
            "eta 0 takes the noise out of DPM++ 2S a Karras",
            txt(sampler_name="DPM++ 2S a Karras", override_settings={"eta_ancestral": 0.5}),
        ),
        (
            txt(sampler_name="k_euler_ancestral", s_noise=0),
            "s_noise 0 takes the noise out of k_euler_ancestral",
            txt(sampler_name="k_euler_ancestral", s_noise=1),
        ),
        (
            {**START, "initial_noise_multiplier": 0},
            "initial_noise_multiplier 0 takes the noise away",
            {**START, "initial_noise_multiplier": 1},
        ),
        (
            {**START, "override_settings": {"initial_noise_multiplier": 0}},
            "initial_noise_multiplier 0 takes the noise away",
            {**START, "initial_noise_multiplier": 0.9},
        ),
        (
            {**START, "denoising_strength": 0},
            "denoising_strength 0 changes nothing",
            {**START, "denoising_strength": 0.01},
        ),
        (
            {**START, "init_images": [*START["init_images"], *START["init_images"]], "batch_size": 2},
            "batch_size 2 makes 2 pictures of each of the 2 start pictures",
            {**START, "init_images": [*START["init_images"], *START["init_images"]]},
        ),
        (
            {**UPSCALE, "scale": 2, "width": 64, "height": 64, "resize_mode": 0},
            "the size has no effect with resize_mode 0",
            {**UPSCALE, "scale": 2, "resize_mode": 0},
        ),
        (
            {**UPSCALE, "scale": 2, "width": 64, "height": 64, "resize_mode": 1},
            "upscaling_resize has no effect with resize_mode 1",
            {**UPSCALE, "width": 64, "height": 64, "resize_mode": 1},
        ),
        (
            {**UPSCALE, "scale": 2, "steps": 20},
            "steps has no effect without tiles",
            {**UPSCALE, "scale": 2, "steps": 20, "prompt": "a cat", "tiles": {"size": 512}},
        ),
        (
            txt(output={"quality": 80}),
            "output.quality has no effect on png",
            txt(output={"quality": 80, "format": "webp"}),
        ),
        (
            txt(output={"quality": 80, "format": "png"}),
            "output.quality has no effect on png",
            txt(output={"quality": 80, "format": "jpeg"}),
        ),
    ],
)
def test_what_has_no_effect_is_told_and_nothing_else_is(
    fields: dict[str, Any], said: str, silent: dict[str, Any]
) -> None:
    told = parse_job(fields, limits=LIMITS).warnings
    assert len(told) == 1
    assert said in told[0]
    assert list(parse_job(silent, limits=LIMITS).warnings) == []


def units(*args: Any, **fields: Any) -> list[dict[str, Any]]:
    """Return the ControlNet units of an img2img job whose script's arguments these are."""
    job = parse_job({**START, "alwayson_scripts": {"controlnet": {"args": list(args)}}, **fields})
    assert isinstance(job, Generation)
    return [unit.model_dump(exclude_unset=True) for unit in job.controlnet or ()]


@pytest.mark.parametrize(
    "idle", [{}, None, {"enabled": False, **UNIT}, {"module": "none", "model": "None"}, {"weight": 0.5, "image": None}]
)
def test_a_unit_that_is_off_or_as_its_panel_opens_is_left_out(idle: Any) -> None:
    assert units(idle) == []
    assert [unit["model"] for unit in units(idle, {**UNIT, "enabled": True})] == ["control_canny"]


def test_a_unit_without_a_picture_of_its_own_has_the_start_picture() -> None:
    assert [unit["model"] for unit in units({**UNIT, "enabled": True})] == ["control_canny"]


def test_a_unit_with_a_picture_and_no_model_is_a_mistake_at_its_own_place() -> None:
    args = [{"module": "none", "model": "None"}, {"enabled": True, "image": PICTURE}]
    job = {**START, "alwayson_scripts": {"controlnet": {"args": args}}}
    assert places(job) == ["alwayson_scripts.controlnet.args[1].model"]
