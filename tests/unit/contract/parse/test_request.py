from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pace import loop_turns
from worker.contract.base.limits import Limits
from worker.contract.parse import job_parser
from worker.contract.types.job import Txt2Img
from worker.contract.types.kinds import KINDS
from worker.errors import InvalidInput, Problem

CAT: dict[str, Any] = {"prompt": "a cat"}


def parse_job(raw: object, *, limits: Limits | None = None) -> Txt2Img:
    job = job_parser.parse_job(raw, limits=limits)
    assert isinstance(job, Txt2Img)
    return job


def problems(raw: object, limits: Limits | None = None) -> dict[str, Problem]:
    with pytest.raises(InvalidInput) as caught:
        job_parser.parse_job(raw, limits=limits)
    return {problem.path: problem for problem in caught.value.problems}


def problem(**fields: Any) -> Problem:
    found = problems({**CAT, **fields})
    assert len(found) == 1, found
    return next(iter(found.values()))


def test_only_what_was_sent_is_forwarded() -> None:
    assert parse_job({"prompt": "a cat", "steps": 20}).plain_fields() == {"prompt": "a cat", "steps": 20}


def test_models_and_answer_options_are_not_forwarded_as_they_are() -> None:
    job = parse_job(
        {**CAT, "checkpoint": "Deliberate v6", "loras": ["a", {"name": "b", "scale": 0.5}], "output": {"format": "jpg"}}
    )
    assert job.plain_fields() == CAT
    assert job.checkpoint is not None
    assert job.checkpoint.ref == "Deliberate v6"
    assert [(lora.ref, lora.scale) for lora in job.loras or []] == [("a", None), ("b", 0.5)]
    assert job.output.format == "jpeg"


def test_every_mistake_is_reported_at_once_in_the_order_of_the_job() -> None:
    found = problems(
        {
            "prompt": 5,
            "num_inference_steps": 20,
            "stepz": 20,
            "cfg_scale": "high",
            "loras": [{"name": "a", "scal": 1}, {"name": "b", "scale": "x"}],
            "output": {"qualty": 5},
        }
    )
    assert list(found) == [
        "prompt",
        "num_inference_steps",
        "stepz",
        "cfg_scale",
        "loras[0].scal",
        "loras[1].scale",
        "output.qualty",
    ]
    assert found["loras[0].scal"].suggestion == "scale"
    assert found["output.qualty"].suggestion == "quality"


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("num_inference_steps", "steps"),
        ("guidance_scale", "cfg_scale"),
        ("num_images_per_prompt", "batch_size"),
        ("sampler", "sampler_name"),
        ("model", "checkpoint"),
        ("ckpt", "checkpoint"),
        ("lora", "loras"),
        ("n_prompt", "negative_prompt"),
        ("clipskip", "clip_skip"),
        ("negativeprompt", "negative_prompt"),
        ("widht", "width"),
        ("Steps", "steps"),
        ("samplerName", "sampler_name"),
    ],
)
def test_an_unknown_field_gets_the_name_that_was_meant(foreign: str, ours: str) -> None:
    assert problem(**{foreign: 20}) == Problem(foreign, "is not a field", ours)


def test_an_unknown_field_beside_the_one_that_was_meant_is_told_so() -> None:
    assert problem(steps=20, stepz=30) == Problem(
        "stepz", "is not a field, and 'steps' is in the job as well; leave one of them out"
    )


def test_an_unknown_field_that_is_like_nothing_gets_no_suggestion() -> None:
    assert problem(zzzzzzzz=1).suggestion is None


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", 0, "must be 1 to 150, not 0"),
        ("steps", 151, "must be 1 to 150, not 151"),
        ("steps", 2.5, "must be a whole number, 1 to 150, not 2.5"),
        ("steps", True, "must be a whole number, 1 to 150, not true"),
        ("steps", "many", "must be a whole number, 1 to 150, not 'many'"),
        ("steps", [20], "must be a whole number, 1 to 150, not a list"),
        ("prompt", None, "is missing"),
        ("prompt", ["a", "b"], "must be text, not a list"),
        ("prompt", "a" * 20_001, "must have at most 20000 characters, not 20001"),
        ("cfg_scale", 0.5, "must be 1 to 30, not 0.5"),
        ("cfg_scale", "x", "must be a number, 1 to 30, not 'x'"),
        ("cfg_scale", float("nan"), "must be a finite number, not NaN or Infinity"),
        ("cfg_scale", float("inf"), "must be a finite number, not NaN or Infinity"),
        ("width", 500, "must be a multiple of 8, not 500"),
        ("width", 32, "must be 64 to 2048, not 32"),
        ("height", 4096, "must be 64 to 2048, not 4096"),
        ("seed", -2, "must be -1 to 9007199254740991, not -2"),
        ("batch_size", 0, "must be 1 to 1000, not 0"),
        ("n_iter", 0, "must be 1 to 1000, not 0"),
        ("clip_skip", 13, "must be 1 to 12, not 13"),
        ("tiling", "maybe", "must be true or false, not 'maybe'"),
        ("styles", "anime", "must be a list, not 'anime'"),
        ("loras", ["a"] * 51, "has 51 entries; at most 50 are allowed"),
        ("output", "png", "must be an object, not 'png'"),
        ("checkpoint", 5, "must be a name or an object with name or url, not 5"),
        ("override_settings", ["eta_ddim"], "must be an object, not a list"),
        ("firstphase_width", 512, "is read by the WebUI otherwise than it was; set width and hr_resize_x"),
        ("on_mismatch", "explode", "must be one of error, warn, not 'explode'"),
        ("negative_prompt", "\ud800", "has half a character (a lone surrogate) at position 0"),
        ("negative_prompt", "a\x00", "must not contain the character NUL"),
    ],
)
def test_a_wrong_value_says_what_would_be_right(field: str, value: object, message: str) -> None:
    found = problem(**{field: value})
    assert (found.path, found.message) == (field, message)


def test_a_size_that_is_no_multiple_of_8_gets_the_nearest_one() -> None:
    assert problem(width=500).suggestion == "496"
    assert problem(width=2047).suggestion == "2048"


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("steps", "20", 20),
        ("steps", 20.0, 20),
        ("cfg_scale", 7, 7.0),
        ("cfg_scale", "7.5", 7.5),
        ("seed", "123", 123),
        ("seed", 2**40, 2**40),
        ("seed", -1, -1),
        ("tiling", "true", True),
        ("tiling", 0, False),
        ("clip_skip", "2", 2),
    ],
)
def test_numbers_as_text_are_read_as_the_webui_reads_them(field: str, value: object, read: object) -> None:
    parsed = getattr(parse_job({**CAT, field: value}), field)
    assert parsed == read
    assert type(parsed) is type(read)


def test_the_webuis_own_echo_of_a_request_is_a_job() -> None:
    echo: dict[str, Any] = {
        "prompt": "a cat", "negative_prompt": "", "styles": None, "seed": 42, "subseed": -1, "subseed_strength": 0,
        "seed_resize_from_h": -1, "seed_resize_from_w": -1, "sampler_name": None, "scheduler": None, "batch_size": 1,
        "n_iter": 1, "steps": 2, "cfg_scale": 7.0, "width": 64, "height": 64, "restore_faces": None, "tiling": None,
        "do_not_save_samples": False, "do_not_save_grid": False, "eta": None, "denoising_strength": None,
        "s_min_uncond": None, "s_churn": None, "s_tmax": None, "s_tmin": None, "s_noise": None,
        "override_settings": None, "override_settings_restore_afterwards": True, "refiner_checkpoint": None,
        "refiner_switch_at": None, "disable_extra_networks": False, "firstpass_image": None, "comments": None,
        "enable_hr": False, "firstphase_width": 0, "firstphase_height": 0, "hr_scale": 2.0, "hr_upscaler": None,
        "hr_second_pass_steps": 0, "hr_resize_x": 0, "hr_resize_y": 0, "hr_checkpoint_name": None,
        "hr_sampler_name": None, "hr_scheduler": None, "hr_prompt": "", "hr_negative_prompt": "",
        "force_task_id": None, "sampler_index": "Euler", "script_name": None, "script_args": [], "send_images": True,
        "save_images": False, "alwayson_scripts": {}, "infotext": None,
    }  # fmt: skip
    job = parse_job(echo)
    assert job.warnings == ()
    assert job.sampler_name == "Euler"
    assert job.path("sampler_name") == "sampler_index"
    assert "eta" not in job.plain_fields()


def test_fields_that_mean_nothing_to_a_worker_are_ignored_with_a_warning() -> None:
    job = parse_job({**CAT, "save_images": True, "send_images": False, "force_task_id": "t"})
    assert len(job.warnings) == 3
    assert job.plain_fields() == CAT


def test_overrides_move_to_the_field_that_the_contract_has_for_them() -> None:
    job = parse_job(
        {
            **CAT,
            "override_settings": {
                "sd_model_checkpoint": "Deliberate_v6",
                "CLIP_stop_at_last_layers": 2,
                "sd_vae": "None",
                "samples_format": "jpg",
                "eta_noise_seed_delta": "31337",
            },
        }
    )
    assert job.checkpoint is not None
    assert job.checkpoint.ref == "Deliberate_v6"
    assert job.vae is not None
    assert (job.vae.ref, job.clip_skip, job.output.format) == ("None", 2, "jpeg")
    assert job.override_settings == {"eta_noise_seed_delta": 31337}
    assert job.path("checkpoint") == "override_settings.sd_model_checkpoint"


def test_a_mistake_in_a_moved_override_is_reported_where_it_was_written() -> None:
    found = problem(override_settings={"CLIP_stop_at_last_layers": 22})
    assert found.path == "override_settings.CLIP_stop_at_last_layers"


def test_an_override_outside_the_allow_list_is_refused() -> None:
    assert problem(override_settings={"fp8_storage": "Enable"}).message == "is not an option that a job may override"
    assert problem(override_settings={"eta_ancestrl": 1}).suggestion == "eta_ancestral"


@pytest.mark.parametrize(
    ("option", "words", "suggestion"),
    [
        ("clip_skip", "send 'clip_skip' as a field of the job", "clip_skip"),
        ("Steps", "send 'steps' as a field of the job", "steps"),
        ("clip_stop_at_last_layers", "under this spelling", "CLIP_stop_at_last_layers"),
        ("sd_model_checkpont", "is not an option", "sd_model_checkpoint"),
        ("eta_ancestrall", "is not an option", "eta_ancestral"),
    ],
)
def test_an_option_that_is_a_field_of_the_job_is_told_as_that(option: str, words: str, suggestion: str) -> None:
    told = problem(override_settings={option: 1})
    assert words in told.message
    assert told.suggestion == suggestion


@pytest.mark.parametrize(
    ("option", "given", "near"),
    [
        ("randn_source", "gpuu", "GPU"),
        ("emphasis", "No nrm", "No norm"),
        ("sd_noise_schedule", "Karras", None),
        ("uni_pc_variant", 2, None),
    ],
)
def test_a_word_that_the_webui_would_take_its_default_for_is_refused(
    option: str, given: object, near: str | None
) -> None:
    found = problem(override_settings={option: given})
    assert found.message.startswith("must be one of ")
    assert found.suggestion == near
    assert parse_job({**CAT, "override_settings": {"randn_source": "cpu"}}).override_settings == {"randn_source": "CPU"}


def test_a_field_and_an_override_that_disagree_are_a_mistake() -> None:
    assert problem(clip_skip=1, override_settings={"CLIP_stop_at_last_layers": 2}).path.startswith("override_settings.")


def test_behind_curtains_fields_are_accepted() -> None:
    job = parse_job(
        {
            **CAT,
            "clip_skip": 2,
            "checkpoint": {"name": "x", "url": "https://example.com/x.safetensors", "hash": "0123456789"},
            "loras": [{"name": "l", "url": "https://example.com/l.safetensors", "scale": 0.8}],
        }
    )
    assert job.loras is not None
    assert job.loras[0].scale == 0.8


def test_the_prompt_may_be_empty_but_not_missing() -> None:
    assert parse_job({"prompt": ""}).prompt == ""
    assert parse_job({"styles": ["anime"]}).prompt == ""
    assert problems({})[("prompt")].message == "is missing"


@pytest.mark.parametrize("raw", [None, [], "a cat", 5, b"{}"])
def test_an_input_that_is_no_object_is_refused(raw: object) -> None:
    assert list(problems(raw)) == [""]


def test_another_kind_of_job_is_refused_by_name() -> None:
    assert problem(type="txt2imgg").suggestion == "txt2img"


# Rules between fields


def test_too_many_pictures_are_refused_by_the_endpoints_limit() -> None:
    found = problems({**CAT, "batch_size": 4, "n_iter": 5}, Limits(max_images=16))
    assert "at most 16 pictures, not 20" in found["n_iter"].message
    parse_job({**CAT, "batch_size": 4, "n_iter": 4}, limits=Limits(max_images=16))


@pytest.mark.parametrize(
    ("parts", "common", "pictures"),
    [
        ([{"n_iter": 5}, {}], {}, 6),
        ([{"batch_size": 5}, {}], {}, 6),
        ([{"n_iter": 2, "batch_size": 2}, {"n_iter": 2}], {}, 6),
        ([{"n_iter": 1}, {}], {"n_iter": 5}, 6),
        ([{}, {}], {"n_iter": 3}, 6),
        ([{}, {"batch_size": 2}], {"n_iter": 2}, 6),
    ],
)
def test_the_pictures_of_every_prompt_count_towards_the_limit(
    parts: list[dict[str, int]], common: dict[str, int], pictures: int
) -> None:
    fields = {"prompts": [{"prompt": "a cat", **part} for part in parts], **common}
    assert set(problems(fields, Limits(max_images=pictures - 1))) == {"prompts"}
    parse_job(fields, limits=Limits(max_images=pictures))


def test_hires_needs_a_denoising_strength() -> None:
    assert problem(enable_hr=True).path == "denoising_strength"
    parse_job({**CAT, "enable_hr": True, "denoising_strength": 0.5})


def test_a_hires_size_over_the_pixel_limit_is_refused() -> None:
    assert problem(enable_hr=True, denoising_strength=0.5, width=1024, height=1024, hr_scale=4).path == "hr_scale"
    found = problem(enable_hr=True, denoising_strength=0.5, hr_resize_x=8192)
    assert found.path == "hr_resize_x"
    assert "8192x8192" in found.message


def test_hires_fields_without_hires_are_pointed_out() -> None:
    assert parse_job({**CAT, "hr_scale": 1.5}).warnings == ("hr_scale has no effect without enable_hr: true",)
    assert parse_job({**CAT, "hr_scale": 1.5, "enable_hr": False}).warnings == ()


def test_unipc_needs_three_steps() -> None:
    assert problem(sampler_name="UniPC", steps=2).path == "steps"
    assert problem(sampler_name="uni_pc", steps=2).path == "steps"
    parse_job({**CAT, "sampler_name": "UniPC", "steps": 3})


def test_a_refiner_needs_to_know_when() -> None:
    assert problem(refiner_checkpoint="x").path == "refiner_switch_at"
    assert parse_job({**CAT, "refiner_checkpoint": "", "refiner_switch_at": 0.8}).warnings


def test_a_jpeg_is_never_lossless() -> None:
    assert problem(output={"format": "jpg", "lossless": True}).path == "output.lossless"


@pytest.mark.parametrize(("word", "meant"), [("images", "base64"), ("urls", "s3"), ("none", "none"), ("auto", "auto")])
def test_return_is_another_word_for_delivery(word: str, meant: str) -> None:
    assert parse_job({**CAT, "return": word}).output.delivery == meant
    assert parse_job({**CAT, "output": {"return": word}}).output.delivery == meant
    assert problem(**{"return": "picture"}).path == "return"
    assert problem(**{"return": "none", "output": {"delivery": "s3"}}).path == "return"


# Anything at all


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
ALL_FIELDS = sorted({name for kind in KINDS.values() for name in kind.model_fields})
FIELDS = st.sampled_from(
    [*ALL_FIELDS, "sampler_index", "script_name", "script_args", "alwayson_scripts", "comments", "save_images"]
)
NEAR = st.sampled_from([0, 1, 2, 8, 20, 512, 0.5, "20", "x", "", True, None, [], {}, ["a"], {"name": "a"}])


@settings(max_examples=120)
@given(st.one_of(JSON, st.dictionaries(FIELDS, NEAR | JSON, max_size=12)))
def test_any_json_is_a_job_or_a_list_of_mistakes(raw: Any) -> None:
    answer: Any
    try:
        answer = job_parser.parse_job(raw).plain_fields()
    except InvalidInput as error:
        answer = error.to_answer()
    assert len(json.dumps(answer, allow_nan=False).encode()) < 50_000


def _deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param({**CAT, "loras": ["a"] * 100_000}, id="100,000 loras"),
        pytest.param({**CAT, "loras": [{"name": "a"}] * 300}, id="300 loras"),
        pytest.param({"prompt": "a" * 1_000_000}, id="1 MB prompt"),
        pytest.param({"prompt": "é" * 1_000_000}, id="2 MB prompt"),
        pytest.param({**CAT, "x": _deep(100_000)}, id="deep"),
        pytest.param({**CAT, **{f"field_{n}": n for n in range(100_000)}}, id="100,000 fields"),
        pytest.param({**CAT, **{f"stepss_{n}": n for n in range(290)}}, id="290 unknown fields"),
        pytest.param({**CAT, "x": [[[0] * 200] * 200] * 200}, id="many values"),
        pytest.param({**CAT, "x" * 1_000_000: 1}, id="1 MB name"),
        pytest.param({**CAT, "seed": 10**100_000}, id="100,000 digits"),
        pytest.param({**CAT, "seed": "9" * 100_000}, id="100,000 digits as text"),
        pytest.param({**CAT, "loras": [{"name": "a", "scale": "x" * 10_000}] * 50}, id="long wrong values"),
        pytest.param({**CAT, "override_settings": {f"k{n}" * 40: 1 for n in range(290)}}, id="unknown overrides"),
    ],
)
def test_hostile_input_is_refused_in_the_time_of_a_short_loop_and_with_a_short_answer(raw: object) -> None:
    parse_job(CAT)

    def refuse() -> None:
        with pytest.raises(InvalidInput) as caught:
            job_parser.parse_job(raw)
        assert len(str(caught.value)) < 20_000

    assert loop_turns(refuse) < 3_000_000  # some 50 ms on the machines of 2025; what grows too fast takes seconds
