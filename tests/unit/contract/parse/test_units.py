from __future__ import annotations

from typing import Any

import pytest

from worker.contract.parse.job_parser import parse_job
from worker.contract.types.job import Generation
from worker.contract.types.kinds import Img2Img, Inpaint
from worker.errors import InvalidInput, Problem

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAknRFWHRw"
CAT: dict[str, Any] = {"prompt": "a cat"}
CANNY: dict[str, Any] = {"module": "canny", "model": "control_v11p_sd15_canny", "image": PICTURE}


def job(**fields: Any) -> Generation:
    parsed = parse_job({**CAT, **fields})
    assert isinstance(parsed, Generation)
    return parsed


def problem(**fields: Any) -> Problem:
    with pytest.raises(InvalidInput) as caught:
        parse_job({**CAT, **fields})
    assert len(caught.value.problems) == 1, caught.value.problems
    return caught.value.problems[0]


# ControlNet


def test_a_controlnet_unit_keeps_only_what_was_sent() -> None:
    units = job(controlnet=[{**CANNY, "weight": 0.5}]).controlnet
    assert units is not None
    assert units[0].model_dump(exclude_unset=True) == {**CANNY, "weight": 0.5}
    assert units[0].is_on


def test_a_single_unit_needs_no_list() -> None:
    assert len(job(controlnet=CANNY).controlnet or ()) == 1


def test_numbers_and_short_words_for_modes_become_the_extensions_words() -> None:
    units = job(controlnet=[{**CANNY, "resize_mode": 1, "control_mode": "prompt"}]).controlnet or []
    assert (units[0].resize_mode, units[0].control_mode) == ("Crop and Resize", "My prompt is more important")


@pytest.mark.parametrize(
    ("unit", "path"),
    [
        ({**CANNY, "weight": 3}, "controlnet[0].weight"),
        ({**CANNY, "guidance_start": 0.8, "guidance_end": 0.2}, "controlnet[0]"),
        ({**CANNY, "control_mode": "both"}, "controlnet[0].control_mode"),
        ({**CANNY, "image": "/etc/passwd"}, "controlnet[0].image"),
        ({**CANNY, "ipadapter_input": "gASVAAAAAAAAAA=="}, "controlnet[0].ipadapter_input"),
        ({"module": "canny", "image": PICTURE}, "controlnet[0].model"),
        ({"module": "canny", "model": "x"}, "controlnet[0].image"),
        ({**CANNY, "wieght": 1}, "controlnet[0].wieght"),
        ({"module": "canny", "model": "x", "input_image": "/etc/passwd"}, "controlnet[0].input_image"),
        ({**CANNY, "input_image": PICTURE}, "controlnet[0]"),
    ],
)
def test_a_bad_controlnet_unit_is_refused(unit: dict[str, Any], path: str) -> None:
    assert problem(controlnet=[unit]).path == path


def test_a_picture_with_its_mask_in_one_object_is_understood() -> None:
    unit = {"module": "inpaint_only", "model": "x", "image": {"image": PICTURE, "mask": PICTURE}}
    units = job(controlnet=[unit]).controlnet or []
    assert (units[0].image, units[0].mask) == (PICTURE, PICTURE)


def test_units_of_the_webuis_own_form_become_the_same() -> None:
    args = [
        {"enabled": False, "model": "None", "input_mode": "simple"},
        {"enabled": True, "module": "canny", "model": "x", "input_image": PICTURE, "lowvram": False, "is_ui": True},
    ]
    units = job(alwayson_scripts={"ControlNet": {"args": args}}).controlnet or []
    assert len(units) == 1
    assert (units[0].image, units[0].low_vram) == (PICTURE, False)


def test_mistakes_in_the_webuis_own_form_are_reported_where_they_stand() -> None:
    args = [{"enabled": False}, {**CANNY, "weight": 3}]
    assert problem(alwayson_scripts={"controlnet": {"args": args}}).path == "alwayson_scripts.controlnet.args[1].weight"


@pytest.mark.parametrize("script", ["controlnet", "ADetailer", "Refiner", "Tiled VAE", "not installed"])
@pytest.mark.parametrize(
    "given", [{"args": [{}]}, {"args": [None]}, {"args": [{}, None, ""]}, {"args": None}, {"args": {}}, {}]
)
def test_a_script_that_says_nothing_is_as_if_not_sent(script: str, given: object) -> None:
    parsed = job(alwayson_scripts={script: given, "ControlNet": {"args": [{**CANNY, "enabled": True}]}})
    assert parsed.model_fields_set == {"prompt", "controlnet"}


@pytest.mark.parametrize(
    "unit", [{"module": "none", "model": "None"}, {"enabled": True, "weight": 1}, {"model": "None", "image": ""}]
)
def test_a_unit_with_nothing_chosen_is_as_if_not_sent(unit: dict[str, Any]) -> None:
    assert job(alwayson_scripts={"controlnet": {"args": [unit]}}).controlnet is None


def test_a_unit_that_controlnet_itself_would_leave_out_runs_with_a_warning() -> None:
    parsed = job(alwayson_scripts={"controlnet": {"args": [CANNY]}})
    assert [warning.partition(" ")[0] for warning in parsed.warnings] == ["alwayson_scripts.controlnet.args[0]"]


# ADetailer


def test_adetailer_takes_short_names_and_its_own() -> None:
    short = job(adetailer=[{"model": "face_yolov8n.pt", "confidence": 0.4}]).adetailer
    own = job(
        alwayson_scripts={
            "ADetailer": {
                "args": [True, False, {"ad_model": "face_yolov8n.pt", "ad_confidence": 0.4}, {"ad_model": "None"}]
            }
        }
    ).adetailer
    assert short == own


def test_a_value_whose_switch_is_off_is_left_out() -> None:
    passes = job(
        adetailer=[{"ad_model": "x", "ad_use_steps": False, "ad_steps": 5, "ad_use_cfg_scale": True, "ad_cfg_scale": 5}]
    ).adetailer
    assert passes is not None
    assert passes[0].model_dump(exclude_unset=True) == {"model": "x", "cfg_scale": 5.0}


def test_in_adetailers_own_form_a_value_without_its_switch_does_nothing_and_is_told() -> None:
    unit = {"ad_model": "x", "ad_steps": 5, "ad_inpaint_width": 64, "ad_use_cfg_scale": True, "ad_cfg_scale": 5}
    parsed = job(alwayson_scripts={"ADetailer": {"args": [True, False, unit]}})
    assert parsed.adetailer is not None
    assert parsed.adetailer[0].model_dump(exclude_unset=True) == {"model": "x", "cfg_scale": 5.0}
    said = " ".join(parsed.warnings)
    assert "args[2].ad_steps has no effect without ad_use_steps: true" in said
    assert "args[2].ad_inpaint_width has no effect without ad_use_inpaint_width_height: true" in said


def test_adetailer_that_is_switched_off_is_no_pass() -> None:
    assert job(alwayson_scripts={"ADetailer": {"args": [False, False, {"ad_model": "x"}]}}).adetailer is None


@pytest.mark.parametrize("switches", [[], [True], [True, False]])
def test_adetailers_passes_begin_behind_its_switches_however_many_are_sent(switches: list[bool]) -> None:
    passes = job(alwayson_scripts={"ADetailer": {"args": [*switches, {"ad_model": "a"}, {"ad_model": "b"}]}}).adetailer
    assert [each.model for each in passes or ()] == ["a", "b"]


def test_mistakes_in_a_pass_are_reported_under_the_name_that_was_sent() -> None:
    args = [True, False, {"ad_model": "x", "ad_confidence": 2}]
    assert (
        problem(alwayson_scripts={"ADetailer": {"args": args}}).path
        == "alwayson_scripts.ADetailer.args[2].ad_confidence"
    )
    assert problem(adetailer=[{"prompt": "a face"}]).path == "adetailer[0].model"


# Other scripts


def test_tiled_diffusion_and_vae_are_read_by_position() -> None:
    parsed = job(
        alwayson_scripts={
            "Tiled Diffusion": {
                "args": [True, "MultiDiffusion", False, True, 1024, 1024, 96, 96, 48, 4, "Lanczos", 2.0]
            },
            "Tiled VAE": {"args": [True, 512, 64]},
        }
    )
    assert parsed.tiled_diffusion is not None
    assert (parsed.tiled_diffusion.upscaler, parsed.tiled_diffusion.width) == ("Lanczos", None)
    assert parsed.tiled_vae is not None
    assert parsed.tiled_vae.decoder_tile == 64


def test_a_script_that_is_off_is_not_there() -> None:
    assert job(alwayson_scripts={"Tiled VAE": {"args": [False, 512]}}).tiled_vae is None


@pytest.mark.parametrize(
    ("scripts", "path"),
    [
        ({"reactor": {"args": ["x", True]}}, "alwayson_scripts.reactor"),
        ({"controlnet": {"args": {"0": CANNY}}}, "alwayson_scripts.controlnet"),
        ({"controlnet": [CANNY]}, "alwayson_scripts.controlnet"),
        ({"seed": {"args": [5]}}, "alwayson_scripts.seed"),
        ([1], "alwayson_scripts"),
    ],
)
def test_scripts_without_a_typed_unit_are_refused(scripts: Any, path: str) -> None:
    assert problem(alwayson_scripts=scripts).path == path


def test_a_misspelt_script_gets_its_name() -> None:
    assert problem(alwayson_scripts={"contrlnet": {"args": [CANNY]}}).suggestion == "controlnet"


def test_soft_inpainting_belongs_to_inpainting() -> None:
    scripts = {"soft inpainting": {"args": [True, 1, 0.5, 4, 0, 0.5, 2]}}
    parsed = job(init_images=[PICTURE], mask=PICTURE, alwayson_scripts=scripts)
    assert isinstance(parsed, Inpaint)
    assert parsed.soft_inpainting is not None
    assert "is a field of inpaint" in problem(alwayson_scripts=scripts).message


def test_ultimate_upscale_is_read_by_position() -> None:
    args = [None, 512, 512, 8, 32, 64, 0.35, 16, 1, False, 0, False, 4, 0, 2, 2048, 2048, 2]
    parsed = job(init_images=[PICTURE], script_name="Ultimate SD upscale", script_args=args)
    assert isinstance(parsed, Img2Img)
    assert parsed.ultimate_upscale is not None
    assert (parsed.ultimate_upscale.upscaler, parsed.ultimate_upscale.scale) == ("Lanczos", 2.0)
    assert parsed.ultimate_upscale.width is None


def test_an_upscaler_by_number_is_refused_where_numbers_differ_between_workers() -> None:
    args = [None, 512, 512, 8, 32, 64, 0.35, 16, 7, False, 0, False, 4, 0, 2, 2048, 2048, 2]
    assert problem(init_images=[PICTURE], script_name="ultimate sd upscale", script_args=args).path == "script_args[8]"


def test_one_thing_said_twice_under_two_names_is_a_mistake() -> None:
    assert problem(adetailer={"model": "face_yolov8n.pt", "ad_model": "hand_yolov8n.pt"}).path == "adetailer[0]"
    both = {**CANNY, "image": {"image": PICTURE, "mask": PICTURE}, "mask": f"{PICTURE}AAAA"}
    assert problem(controlnet=both).path == "controlnet[0]"
    job(adetailer={"model": "face_yolov8n.pt", "ad_model": "face_yolov8n.pt"})


@pytest.mark.parametrize(
    ("script", "args", "path"),
    [
        ("refiner", ["zzz", "m", 0.8], "args[0]"),
        ("tiled vae", [{"a": 1}], "args[0]"),
        ("tiled vae", [True, 7], "args[1]"),
        ("dynamic prompts v2.17.1", [[1]], "args[0]"),
        ("ADetailer", ["zzz", False, {"ad_model": "face_yolov8n.pt"}], "args[0]"),
        ("ADetailer", [True, False, True], "args[2]"),
    ],
)
def test_what_is_no_switch_of_a_script_is_a_mistake_at_its_place(script: str, args: list[Any], path: str) -> None:
    assert problem(alwayson_scripts={script: {"args": args}}).path == f"alwayson_scripts.{script}.{path}"


def test_an_ultimate_upscale_of_an_unknown_target_is_a_mistake() -> None:
    args = [None, 512, 0, 8, 32, 64, 0.35, 16, 1, False, 0, False, 4, 0, "zzz", 2048, 2048, 2]
    found = problem(init_images=[PICTURE], script_name="ultimate sd upscale", script_args=args)
    assert found == Problem("script_args[14]", "must be 0, 1 or 2, not 'zzz'")
