"""Any body that the WebUI's own API document allows is a job or a typed error, on its paths and as a job of ours."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.contract.parse.test_kinds import PICTURE
from worker.contract.accept import accept
from worker.contract.types.job import Generation
from worker.errors import InvalidInput

TEXTS = st.sampled_from(["", "string", "a cat", "Euler", "Euler a", "None", "Latent", "model.safetensors [0123456789]"])
WHOLE = st.integers(-2, 3000)
NUMBER = st.floats(-2, 40, allow_nan=False) | st.integers(-2, 40)
FLAG = st.booleans()
ANY = st.dictionaries(st.text(max_size=8), st.none() | FLAG | WHOLE | TEXTS, max_size=4)
SCRIPTS = st.dictionaries(
    st.sampled_from(["ControlNet", "ADetailer", "Tiled VAE", "Seed", "Sampler", "X/Y/Z plot", "some extension"]),
    st.fixed_dictionaries({"args": st.lists(FLAG | WHOLE | TEXTS | ANY, max_size=4)}) | st.just({}),
    max_size=3,
)
COMMON: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(["prompt", "negative_prompt"], TEXTS | st.text(max_size=40)),
    **dict.fromkeys(
        ["sampler_name", "sampler_index", "scheduler", "refiner_checkpoint", "script_name", "infotext"],
        TEXTS,
    ),
    "force_task_id": TEXTS,
    "styles": st.lists(TEXTS, max_size=3),
    **dict.fromkeys(["seed", "subseed", "seed_resize_from_h", "seed_resize_from_w"], st.integers(-1, 2**53)),
    **dict.fromkeys(["batch_size", "n_iter", "steps", "width", "height"], WHOLE),
    **dict.fromkeys(
        [
            "cfg_scale", "denoising_strength", "eta", "refiner_switch_at", "s_churn", "s_min_uncond", "s_noise",
            "s_tmax", "s_tmin", "subseed_strength",
        ],
        NUMBER,
    ),
    **dict.fromkeys(
        [
            "disable_extra_networks", "do_not_save_grid", "do_not_save_samples", "override_settings_restore_afterwards",
            "restore_faces", "save_images", "send_images", "tiling",
        ],
        FLAG,
    ),
    "override_settings": ANY,
    "comments": ANY,
    "script_args": st.lists(FLAG | WHOLE | TEXTS, max_size=4),
    "alwayson_scripts": SCRIPTS,
}  # fmt: skip
TXT2IMG = {
    **COMMON,
    "enable_hr": FLAG,
    **dict.fromkeys(["hr_prompt", "hr_negative_prompt"], TEXTS),
    **dict.fromkeys(["hr_upscaler", "hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", "firstpass_image"], TEXTS),
    **dict.fromkeys(["hr_resize_x", "hr_resize_y", "hr_second_pass_steps"], WHOLE),
    **dict.fromkeys(["firstphase_width", "firstphase_height"], WHOLE),
    "hr_scale": NUMBER,
}
IMG2IMG = {
    **COMMON,
    "init_images": st.lists(st.sampled_from([PICTURE, "", "string"]) | st.none(), max_size=2),
    **dict.fromkeys(["mask", "latent_mask"], st.sampled_from([PICTURE, "", "string"])),
    **dict.fromkeys(["resize_mode", "mask_blur", "mask_blur_x", "mask_blur_y", "inpainting_fill"], WHOLE),
    **dict.fromkeys(["inpaint_full_res_padding", "inpainting_mask_invert"], WHOLE),
    **dict.fromkeys(["image_cfg_scale", "initial_noise_multiplier"], NUMBER),
    **dict.fromkeys(["mask_round", "inpaint_full_res", "include_init_images"], FLAG),
}


def bodies(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: value | st.none() for name, value in fields.items()})


def outcome(raw: dict[str, Any]) -> Any:
    found: Any
    try:
        found = accept(raw).job
    except InvalidInput as error:
        found = error
    assert isinstance(found, Generation) or all(problem.message for problem in found.problems)
    return found


@settings(max_examples=100)
@given(bodies(TXT2IMG))
def test_any_body_of_txt2img_is_a_job_or_a_typed_error(body: dict[str, Any]) -> None:
    outcome({"api": {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}, "payload": body})
    outcome({"prompt": "", **body})


@settings(max_examples=100)
@given(bodies(IMG2IMG))
def test_any_body_of_img2img_is_a_job_or_a_typed_error(body: dict[str, Any]) -> None:
    outcome({"api": {"method": "POST", "endpoint": "/sdapi/v1/img2img"}, "payload": body})
    outcome({"prompt": "", **body})


@example({}, {"\x00": False})
@given(bodies(TXT2IMG), st.dictionaries(st.text(max_size=12), FLAG | WHOLE | TEXTS, max_size=3))
def test_what_the_webui_ignores_makes_no_mistake_on_its_own_path(body: dict[str, Any], more: dict[str, Any]) -> None:
    unknown = {f"x_{name}": value for name, value in more.items()}
    api = {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}
    alone, beside = outcome({"api": api, "payload": body}), outcome({"api": api, "payload": {**body, **unknown}})
    if isinstance(alone, Generation):
        assert isinstance(beside, Generation)
        assert beside.plain_fields() == alone.plain_fields()


ODD = ["\x00", "x\x00y", "\ud800", "x" * 300]


@pytest.mark.parametrize("name", ODD)
def test_a_name_that_no_field_can_have_is_ignored_as_the_webui_does_and_refused_elsewhere(name: str) -> None:
    payload = {"prompt": "a cat", name: ["\x00"]}
    made = outcome({"api": {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}, "payload": payload})
    assert isinstance(made, Generation)
    assert made.prompt == "a cat"
    (warning,) = (said for said in made.warnings if "no field can have such a name" in said)
    warning.encode()
    refused = outcome(payload)
    assert isinstance(refused, InvalidInput)
    assert "has a name" in refused.problems[0].message
    refused.problems[0].message.encode()
