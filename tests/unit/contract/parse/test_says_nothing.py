"""What says nothing changes nothing: bodies of real programs are jobs, and no wish among them is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.contract.parse.test_kinds import PICTURE
from worker.contract.accept import accept
from worker.contract.base.neutral import without_empty
from worker.contract.operator.presets import Preset
from worker.contract.types.job import Generation
from worker.errors import InvalidInput, Problem

CAT = {"prompt": "a cat", "steps": 4, "width": 64, "height": 64, "seed": 1}
EMPTY: list[Any] = [None, "", "  ", [], {}, [""], [None], [[]], {"a": None}, [{}]]


def job(**fields: Any) -> Generation:
    found = accept({**CAT, **fields}).job
    assert isinstance(found, Generation)
    return found


def problems(raw: Any, **settings: Any) -> list[Problem]:
    with pytest.raises(InvalidInput) as caught:
        accept(raw, **settings)
    return caught.value.problems


def paths(raw: Any, **settings: Any) -> dict[str, str | None]:
    return {problem.path: problem.suggestion for problem in problems(raw, **settings)}


def said(found: Generation) -> dict[str, Any]:
    return found.model_dump(exclude_unset=True)


KNOWN = [
    "adetailer",
    "alwayson_scripts",
    "cfg_scale",
    "checkpoint",
    "controlnet",
    "denoising_strength",
    "embeddings",
    "hires",
    "hr_upscaler",
    "init_images",
    "loras",
    "mask",
    "n_iter",
    "negative_prompt",
    "outpaint",
    "output",
    "override_settings",
    "preset",
    "prompts",
    "refiner",
    "refiner_checkpoint",
    "sampler_name",
    "scheduler",
    "script_args",
    "script_name",
    "seeds",
    "steps",
    "styles",
    "tiled_vae",
    "type",
    "ultimate_upscale",
    "vae",
    "width",
]


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("value", EMPTY, ids=repr)
def test_an_empty_value_of_a_known_field_is_as_if_it_had_not_been_sent(name: str, value: Any) -> None:
    if (name == "prompts" and value) or (name in {"tiled_vae", "ultimate_upscale"} and isinstance(value, dict)):
        return  # an empty prompt is one to draw, and an empty unit may be a wish, which is told
    without = {key: part for key, part in CAT.items() if key != name}
    found = accept({**without, name: value}).job
    assert found.kind == "txt2img"
    assert found.model_dump(exclude_unset=True) == accept(without).job.model_dump(exclude_unset=True)
    assert found.warnings == ()


@pytest.mark.parametrize("name", [name for name in KNOWN if name not in {"prompt", "type"}])
def test_false_says_that_a_part_is_not_wanted(name: str) -> None:
    without = {key: part for key, part in CAT.items() if key != name}
    for more in ({}, {"compat": "a1111"}):
        found = accept({**without, name: False, **more}).job
        assert found.model_dump(exclude_unset=True) == accept(without).job.model_dump(exclude_unset=True)
        assert found.warnings == ()


@pytest.mark.parametrize("form", [{"compat": "a1111"}, {"compat": "diffusers"}, {"preset": "quick"}])
def test_empty_fields_of_unknown_names_are_told_in_every_form(form: dict[str, Any]) -> None:
    presets = {"quick": Preset.model_validate({"name": "quick", "defaults": {"steps": 3}})}
    found = accept({"prompt": "a cat", "foo": [], "bar": "", "vae": "", **form}, presets=presets).job
    assert found.warnings == ("foo, bar are ignored: not a field that this worker reads",)


def test_arguments_of_diffusers_that_say_nothing_are_known() -> None:
    raw = {"compat": "diffusers", "prompt": "a cat", "negative_prompt_2": "", "mask_image": None, "generator": None}
    assert accept(raw).job.warnings == ()


@pytest.mark.parametrize("value", [*EMPTY, False, 0, 0.0, [False, 7, "x"], {"enabled": False, "x": 1}], ids=repr)
def test_an_unknown_field_that_says_nothing_gets_one_warning(value: Any) -> None:
    found = job(foo=value, bar=value)
    assert len(found.warnings) == 1
    assert "foo" in found.warnings[0]
    assert "bar" in found.warnings[0]
    assert said(found) == said(job())


@pytest.mark.parametrize("value", [1, True, "x", [1], {"a": 1}, [True], 0.5])
def test_an_unknown_field_that_says_something_is_a_mistake_in_a_job_of_ours(value: Any) -> None:
    assert paths({**CAT, "foo": value}) == {"foo": None}
    assert said(accept({**CAT, "foo": value}, unknown_fields="warn").job) == said(job())  # type: ignore[arg-type]


def test_what_becomes_of_unknown_fields_is_the_operators_to_say() -> None:
    api = {"api": {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}, "payload": {"prompt": "a", "stepz": 4}}
    assert accept(api).job.warnings == ("stepz (here: steps) is ignored: not a field that this worker reads",)
    assert paths(api, unknown_fields="refuse") == {"payload.stepz": "steps"}
    assert paths({"prompt": "a", "stepz": 4}) == {"stepz": "steps"}
    assert paths({**CAT, "stepz": 4}) == {"stepz": None}  # no hint at a field that is there
    assert "stepz" in accept({**CAT, "stepz": 4}, unknown_fields="warn").job.warnings[0]


SILLY_TAVERN = {
    "prompt": "x", "negative_prompt": "y", "sampler_name": "DDIM", "scheduler": "normal", "steps": 4, "cfg_scale": 7,
    "width": 64, "height": 64, "restore_faces": False, "enable_hr": False, "hr_upscaler": "Latent", "hr_scale": 1.0,
    "hr_additional_modules": [], "denoising_strength": 0.7, "hr_second_pass_steps": 0,
    "override_settings": {"CLIP_stop_at_last_layers": 1}, "override_settings_restore_afterwards": True, "clip_skip": 1,
    "save_images": True, "send_images": True, "do_not_save_grid": False, "do_not_save_samples": False,
    "url": "http://localhost:7860", "auth": "name:password",
}  # fmt: skip


def test_a_clients_fields_for_its_own_proxy_are_named_as_its_own_and_never_repeated() -> None:
    found = accept(SILLY_TAVERN).job
    (told,) = [warning for warning in found.warnings if "SillyTavern" in warning]
    assert "url" in told
    assert "auth" in told
    assert "hr_additional_modules (Forge's)" in told
    assert "password" not in "".join(found.warnings)


@pytest.mark.parametrize(
    "name",
    [
        "id_task", "image_similarity", "mode", "model_override", "original_prompt", "outpainting_fill",
        "hr_square_aspect", "prompt_shortcut_ui_dict", "resize-mode", "uniqueDocumentId",
    ],
)  # fmt: skip
def test_a_known_programs_bookkeeping_passes_with_a_warning(name: str) -> None:
    found = job(**{name: "abc"})
    assert name in found.warnings[0]
    assert said(found) == said(job())


@pytest.mark.parametrize(
    ("name", "passes", "refused"),
    [
        ("distilled_cfg_scale", 3.5, 2.0),
        ("hr_distilled_cfg", 3.5, 4),
        ("hr_cfg", 7, 5),
        ("hr_additional_modules", ["Use same choices"], ["ae.safetensors"]),
        ("forge_additional_modules", [], ["ae.safetensors"]),
    ],
)
def test_a_field_of_forge_passes_where_it_changes_nothing_there(name: str, passes: Any, refused: Any) -> None:
    assert "Forge" in job(**{name: passes}).warnings[0]
    (found,) = problems({**CAT, name: refused})
    assert found.message == "is a field of Forge; this worker runs AUTOMATIC1111"


def test_an_option_of_forge_is_named_as_one() -> None:
    found = problems({**CAT, "override_settings": {"forge_additional_modules": ["ae.safetensors"]}})
    assert found[0].message == "is an option of Forge; this worker runs AUTOMATIC1111"
    assert said(job(override_settings={"forge_additional_modules": []})) == said(job())


@pytest.mark.parametrize(
    "off",
    [
        {"enable_hr": False, "hr_upscaler": "not there", "hr_scale": 0, "hr_resize_x": 513, "hr_sampler_name": "None"},
        {"hires": {"enabled": False, "upscaler": "not there", "scale": 0}},
        {"controlnet": [{"enabled": False, "model": "", "module": "", "image": "", "foo": 1}]},
        {"controlnet": [{"enabled": "false", "weight": 99}]},
        {"adetailer": [{"ad_model": "face_yolov8n.pt", "ad_tab_enable": False, "ad_confidence": 30}]},
        {"adetailer": [{"ad_model": "None", "ad_confidence": 30}]},
        {"tiled_diffusion": {"enabled": False, "overlap": 9999}},
        {"tiled_vae": {"enabled": False, "encoder_tile": 1}},
        {"alwayson_scripts": {"ADetailer": {"args": [False]}, "ControlNet": {"args": []}}},
    ],
)
def test_what_is_off_is_not_checked(off: dict[str, Any]) -> None:
    found = said(job(**off))
    assert {name: value for name, value in found.items() if name != "enable_hr"} == CAT
    assert not found.get("enable_hr")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("demofusion", [False, "DemoFusion", False, 128]),
        ("Dynamic Thresholding (CFG Scale Fix)", [False, 7, 1, "Constant"]),
        ("AnimateDiff", [{"enable": False, "model": "mm_sd_v15_v2.ckpt"}]),
        ("Regional Prompter", [False, False, "Matrix"]),
        ("some extension", []),
    ],
)
def test_an_extension_that_is_not_here_may_be_switched_off(name: str, args: list[Any]) -> None:
    found = job(alwayson_scripts={name: {"args": args}})
    assert said(found) == CAT
    assert name in found.warnings[0]
    assert list(paths({**CAT, "alwayson_scripts": {name: {"args": [True, *args]}}})) == [f"alwayson_scripts.{name}"]


def test_settings_of_masks_pass_without_a_mask_and_a_wish_among_them_is_told() -> None:
    usual = {"inpaint_full_res": 0, "inpaint_full_res_padding": 32, "inpainting_fill": 1, "mask_blur": 4, "mask": ""}
    found = job(init_images=[PICTURE], denoising_strength=0.5, **usual)
    assert (found.kind, found.warnings) == ("img2img", ())
    wish = job(init_images=[PICTURE], denoising_strength=0.5, **{**usual, "inpainting_fill": 3})
    assert wish.warnings == ("inpainting_fill has no effect without a mask",)
    assert paths({**CAT, "type": "inpaint", "init_images": [PICTURE]}) == {"mask": None}


def test_settings_of_a_start_picture_pass_in_txt2img_where_they_are_defaults() -> None:
    usual = {"resize_mode": 0, "mask_blur": 4, "inpainting_fill": 1, "image_cfg_scale": 1.5, "init_images": []}
    assert said(job(**usual)) == CAT
    assert list(paths({**CAT, "resize_mode": 2})) == ["resize_mode"]
    api = {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}
    assert "resize_mode" in accept({"api": api, "payload": {**CAT, "resize_mode": 2}}).job.warnings[0]


def test_a_list_with_empty_entries_names_the_others_where_they_stand() -> None:
    assert list(paths({**CAT, "init_images": ["", "/etc/passwd"]})) == ["init_images[1]"]
    assert job(styles=["", "None", "anime"]).styles == ["anime"]


@pytest.mark.parametrize("name", ["tiled_diffusion", "tiled_vae", "ultimate_upscale"])
def test_an_empty_unit_counts_as_not_sent_and_says_how_it_is_switched_on(name: str) -> None:
    found = accept({"prompt": "a", "init_images": [PICTURE], name: {}}).job
    assert isinstance(found, Generation)
    assert found.warnings == (f'{name} is empty, which counts as not sent; {{"enabled": true}} turns it on',)
    on = accept({"prompt": "a", "init_images": [PICTURE], name: {"enabled": True}}).job
    assert getattr(on, name) is not None


def test_a_preset_fills_what_says_nothing() -> None:
    from worker.contract.operator.presets import Preset

    presets = {"p": Preset(name="p", defaults={"checkpoint": "a", "hires": {"scale": 2, "denoising_strength": 0.5}})}
    found = accept({**CAT, "preset": "p", "checkpoint": "", "hires": {}}, presets=presets).job
    assert isinstance(found, Generation)
    assert found.checkpoint is not None
    assert found.checkpoint.ref == "a"


@pytest.mark.parametrize("value", [True, "x", 7, ["a"]])
def test_two_names_for_one_thing_are_told_as_that(value: Any) -> None:
    (found,) = problems({**CAT, "num_inference_steps": value})
    assert found == Problem("num_inference_steps", "says the same as steps; send one of them")
    assert said(job(num_inference_steps=4)) == CAT


def test_options_about_files_and_the_screen_are_passed_over_with_one_warning() -> None:
    given = {"samples_save": True, "grid_save": False, "live_previews_enable": False, "do_not_show_images": True}
    found = job(override_settings={**given, "sd_lora": "None", "eta_ddim": 0.5})
    assert found.override_settings == {"eta_ddim": 0.5}
    assert len(found.warnings) == 1
    assert paths({**CAT, "override_settings": {"face_restoration": True}}) == {
        "override_settings.face_restoration": "restore_faces"
    }


def test_the_example_of_the_api_documentation_is_recognised() -> None:
    example = {"sampler_name": "string", "scheduler": "string", "styles": ["string"], "hr_upscaler": "string"}
    found = problems({**CAT, "prompt": "", "enable_hr": False, "width": 63, **example})
    assert found[0].path == ""
    assert "documentation's example" in found[0].message
    assert all(name in found[0].message for name in ("sampler_name", "styles[0]", "hr_upscaler"))
    assert {problem.path for problem in found[1:]} == {"sampler_name", "scheduler", "styles[0]", "width"}
    assert job(prompt="string").prompt == "string"


def test_a_job_one_layer_off_is_told_with_its_own_mistakes() -> None:
    as_text = problems('{"prompt": "x", "negative_promp": "y"}')
    assert as_text[0] == Problem("", "the input is a text that holds JSON; send the object itself")
    assert as_text[1:] == [Problem("negative_promp", "is not a field", "negative_prompt")]
    twice = problems({"input": {"prompt": "x", "stepz": 4}})
    assert "input.input" in twice[0].message
    assert twice[1] == Problem("input.stepz", "is not a field", "steps")


def test_every_mistake_is_told_however_deep_the_unknown_field_stands() -> None:
    raw = {
        "controlnet_units": [{"init_images": [PICTURE], "model": "x"}],
        "prompt": "x",
        "batch": 1,
        "width": 998,
        "loras": [{"path": "a.safetensors", "multiplier": 0.8}],
        "hr_steps": 10,
    }
    assert paths(raw) == {
        "controlnet_units": "controlnet",
        "controlnet_units[0].init_images": "image",
        "batch": "batch_size",
        "width": "1000",
        "loras[0].path": "name",
        "loras[0].multiplier": "scale",
        "hr_steps": "hr_second_pass_steps",
    }


@pytest.mark.parametrize(
    ("loras", "path", "near"),
    [
        ({"add_detail": 0.8}, "loras", '[{"name": "add_detail", "scale": 0.8}]'),
        ("add_detail", "loras", '[{"name": "add_detail"}]'),
        (["add_detail:0.8"], "loras[0]", '{"name": "add_detail", "scale": 0.8}'),
    ],
)
def test_loras_in_other_shapes_get_ours(loras: Any, path: str, near: str) -> None:
    assert paths({**CAT, "loras": loras}) == {path: near}


@pytest.mark.parametrize(
    ("name", "meant"),
    [("format", "output.format"), ("samples_format", "output.format"), ("quality", "output.quality")],
)
def test_usual_names_for_the_pictures_file_have_a_suggestion(name: str, meant: str) -> None:
    assert paths({**CAT, name: "png"}) == {name: meant}


def test_what_can_be_read_beside_mistakes_is_handed_on() -> None:
    with pytest.raises(InvalidInput) as caught:
        accept({**CAT, "width": 63, "checkpoint": "somewhere", "foo": 1})
    rest = caught.value.partial
    assert rest is not None
    assert rest.job.checkpoint.ref == "somewhere"  # type: ignore[attr-defined]
    assert rest.job.width is None  # type: ignore[attr-defined]


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.just("Euler"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def outcome(raw: dict[str, Any]) -> Any:
    """Return what is forwarded of a job, or that it is refused."""
    try:
        found = accept(raw).job
    except InvalidInput:
        return "refused"
    return found.kind, found.model_dump(exclude_unset=True)


@given(st.dictionaries(st.sampled_from([*KNOWN, "foo", "a.b", "[0]", "x[", ""]), ANYTHING, max_size=6))
def test_a_job_is_read_as_if_its_empty_values_had_not_been_sent(fields: dict[str, Any]) -> None:
    raw = {"prompt": "a", **fields}
    assert outcome(raw) == outcome(without_empty(raw).fields)


@pytest.mark.parametrize("options", [{"outdir_samples": "/tmp", "samples_save": True}, {"sd_checkpoint_cache": 10}])
def test_options_about_saving_and_memory_pass_with_a_warning_and_go_no_further(options: dict[str, Any]) -> None:
    job = accept({**CAT, "override_settings": options}).job
    assert isinstance(job, Generation)
    assert not job.override_settings
    said = " ".join(job.warnings)
    assert [name for name in options if name not in said] == []


@pytest.mark.parametrize("word", ["None", "none", "N/A"])
def test_a_scheduler_that_says_none_is_not_sent(word: str) -> None:
    assert said(job(scheduler=word)) == said(job())
