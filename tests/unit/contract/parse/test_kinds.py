from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.pace import stretched
from worker.contract.accept import accept
from worker.contract.base.limits import Limits
from worker.contract.parse.job_parser import parse_job
from worker.contract.parse.normalise import _NESTED
from worker.contract.types.job import Generation, Hires, Refiner, Txt2Img
from worker.contract.types.kinds import KINDS, Img2Img, Inpaint, Interrogate, Listing, Upscale, Validate
from worker.errors import InvalidInput, Problem

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAknRFWHRw"
CAT: dict[str, Any] = {"prompt": "a cat"}


def problem(raw: dict[str, Any]) -> Problem:
    with pytest.raises(InvalidInput) as caught:
        parse_job(raw)
    assert len(caught.value.problems) == 1, caught.value.problems
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (CAT, "txt2img"),
        ({**CAT, "init_images": [PICTURE]}, "img2img"),
        ({**CAT, "init_images": [PICTURE], "mask": PICTURE}, "inpaint"),
        ({**CAT, "init_images": [PICTURE], "outpaint": {"left": 64}}, "inpaint"),
        ({"image": PICTURE, "upscaler": "Lanczos"}, "upscale"),
        ({"image": PICTURE, "scale": 2}, "upscale"),
        ({"image": PICTURE, "type": "interrogate"}, "interrogate"),
        ({"image": PICTURE, "type": "png_info"}, "png_info"),
        ({"type": "samplers"}, "listing"),
        ({"action": "health"}, "listing"),
        ({"type": "refresh"}, "refresh"),
        ({"type": "validate", "job": CAT}, "validate"),
        ({"type": "prefetch", "loras": ["a"]}, "prefetch"),
        ({"type": "control_maps", "module": "canny", "images": [PICTURE]}, "control_maps"),
    ],
)
def test_the_kind_is_inferred_when_it_is_unambiguous(raw: dict[str, Any], kind: str) -> None:
    assert parse_job(raw).kind == kind


def test_a_picture_alone_is_ambiguous() -> None:
    assert problem({"image": PICTURE}).path == "type"


def test_an_unknown_kind_gets_the_one_that_was_meant() -> None:
    assert problem({"type": "smaplers"}).suggestion == "samplers"


def test_a_field_of_another_kind_says_which_kind_has_it() -> None:
    assert problem({**CAT, "mask_blur": 12}).message == "is a field of inpaint; this job is txt2img"
    assert problem({"type": "samplers", "steps": 4}).message == (
        "is a field of txt2img, img2img, inpaint, upscale; this job is listing"
    )
    assert problem({**CAT, "type": "img2img", "init_images": [PICTURE], "enable_hr": True}).path == "enable_hr"


def test_every_kind_is_closed_and_named() -> None:
    for name, kind in KINDS.items():
        assert kind.kind == name
        assert kind.model_config["extra"] == "forbid"


# Pictures


@pytest.mark.parametrize(
    "text",
    [
        PICTURE,
        f"data:image/png;base64,{PICTURE}",
        "https://example.com/a.png",
        "s3://bucket/a.png",
        "key:job/0-1.png",
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDB",
    ],
)
def test_a_picture_may_be_sent_in_many_ways(text: str) -> None:
    job = parse_job({**CAT, "init_images": [text]})
    assert isinstance(job, Img2Img)
    assert job.init_images == [text]
    assert "init_images" not in job.plain_fields()


@pytest.mark.parametrize("value", ["/etc/passwd", "cat.png", "file:///etc/passwd", "ftp://a/b", 5, "data:,hello"])
def test_what_is_no_picture_is_refused(value: object) -> None:
    assert problem({**CAT, "init_images": [value]}).path == "init_images[0]"


def test_a_large_picture_is_read_quickly() -> None:
    started = time.perf_counter()
    parse_job({**CAT, "init_images": ["A" * 20_000_000]})
    assert time.perf_counter() - started < stretched(0.5)


# img2img and inpaint


def test_words_may_stand_for_the_webuis_numbers() -> None:
    job = parse_job(
        {
            **CAT,
            "init_images": [PICTURE],
            "mask": PICTURE,
            "resize_mode": "crop",
            "inpainting_fill": "original",
            "inpainting_mask_invert": True,
        }
    )
    assert isinstance(job, Inpaint)
    assert (job.resize_mode, job.inpainting_fill, job.inpainting_mask_invert) == (1, 1, 1)


def test_inpainting_needs_a_mask_or_room_to_grow() -> None:
    assert problem({**CAT, "type": "inpaint", "init_images": [PICTURE]}).path == "mask"
    assert problem({**CAT, "init_images": [PICTURE], "outpaint": {"left": 0}}).path == "outpaint"


def test_a_mask_fits_one_picture_only() -> None:
    assert problem({**CAT, "init_images": [PICTURE, PICTURE], "mask": PICTURE}).path == "init_images"


@pytest.mark.parametrize("size", [{"width": 512}, {"height": 512}, {"width": 512, "height": 512}])
def test_outpainting_takes_no_size_of_its_own(size: dict[str, int]) -> None:
    fields = {**CAT, "init_images": [PICTURE], "outpaint": {"left": 64}, **size}
    assert problem(fields).path == "outpaint"


# upscale, interrogate, validate


@pytest.mark.parametrize(("given", "missing"), [("width", "height"), ("height", "width")])
def test_a_size_to_upscale_to_has_two_sides(given: str, missing: str) -> None:
    names = {"width": "upscaling_resize_w", "height": "upscaling_resize_h"}
    asked = {"type": "upscale", "image": PICTURE, "upscaler": "Lanczos"}
    assert problem({**asked, given: 512}).path == missing, "in the words of the side that is there"
    assert problem({**asked, names[given]: 512, "resize_mode": 1}).path == names[missing]


def test_upscale_takes_short_names_and_the_webuis() -> None:
    job = parse_job({"type": "upscale", "image": PICTURE, "upscaler": "Lanczos", "width": 512, "height": 256})
    assert isinstance(job, Upscale)
    assert job.plain_fields() == {
        "resize_mode": 1,
        "upscaling_resize_w": 512,
        "upscaling_resize_h": 256,
        "upscaler_1": "Lanczos",
    }
    assert job.path("upscaler_1") == "upscaler"


def test_mistakes_in_short_names_are_reported_under_them() -> None:
    assert problem({"type": "upscale", "image": PICTURE, "scale": 100}).path == "scale"
    assert problem({"type": "upscale", "image": PICTURE, "width": 100}).path == "height"
    assert problem({"type": "upscale", "image": PICTURE, "upscaler_2": "Lanczos"}).path.startswith("extras")


def test_interrogate_knows_both_models_by_their_names() -> None:
    job = parse_job({"type": "interrogate", "image": PICTURE, "model": "deepbooru"})
    assert isinstance(job, Interrogate)
    assert job.model == "deepdanbooru"


def test_a_listing_knows_what_it_lists() -> None:
    job = parse_job({"type": "vaes"})
    assert isinstance(job, Listing)
    assert job.type == "vae"


def test_validate_reports_the_mistakes_of_the_job_inside() -> None:
    assert isinstance(parse_job({"type": "validate", "job": CAT}), Validate)
    with pytest.raises(InvalidInput) as caught:
        accept({"type": "validate", "job": {**CAT, "stepz": 1}})
    assert caught.value.problems == [Problem("job.stepz", "is not a field", "steps")]


# hires and refiner as objects


def test_hires_and_refiner_objects_become_the_webuis_fields() -> None:
    job = parse_job(
        {
            **CAT,
            "hires": {"scale": 1.5, "upscaler": "Latent", "denoising_strength": 0.5, "steps": 5},
            "refiner": {"checkpoint": "x", "switch_at": 0.8},
        }
    )
    assert isinstance(job, Txt2Img)
    assert job.plain_fields() == {
        **CAT,
        "denoising_strength": 0.5,
        "refiner_switch_at": 0.8,
        "enable_hr": True,
        "hr_scale": 1.5,
        "hr_upscaler": "Latent",
        "hr_second_pass_steps": 5,
    }
    assert job.refiner_checkpoint is not None
    assert job.path("hr_upscaler") == "hires.upscaler"


def test_mistakes_in_hires_are_reported_there() -> None:
    assert problem({**CAT, "hires": {"steps": 500, "denoising_strength": 0.5}}).path == "hires.steps"
    assert problem({**CAT, "hires": {"denoising_strength": 0.5, "stepz": 5}}).suggestion == "steps"
    assert problem({**CAT, "hires": {"scale": 2}}).path == "hires.denoising_strength"
    assert problem({**CAT, "hires": {"scale": 2, "denoising_strength": 0.5}, "hr_scale": 3}).path == "hires.scale"


def test_the_objects_have_the_types_of_the_flat_fields() -> None:
    for name, model in (("hires", Hires), ("refiner", Refiner)):
        assert set(_NESTED[name]) == set(model.model_fields)
        for inner, flat in _NESTED[name].items():
            assert str(model.model_fields[inner].annotation) == str(Txt2Img.model_fields[flat].annotation)
            assert model.model_fields[inner].metadata == Txt2Img.model_fields[flat].metadata


# Several things in one job


def test_a_list_of_seeds_may_stand_in_seed() -> None:
    job = parse_job({**CAT, "seed": [1, 2]})
    assert isinstance(job, Generation)
    assert job.seeds == [1, 2]
    assert problem({**CAT, "seed": [1, "x"]}).path == "seed[1]"


def test_prompts_are_texts_or_objects() -> None:
    job = parse_job({"prompts": ["a", {"prompt": "b", "steps": 5}]})
    assert isinstance(job, Generation)
    assert job.prompts is not None
    assert [part.prompt for part in job.prompts] == ["a", "b"]
    assert problem({"prompts": ["a", {"prompt": "b", "stepz": 5}]}) == Problem(
        "prompts[1].stepz", "is not a field", "steps"
    )


def test_the_pictures_of_all_prompts_count_together() -> None:
    assert "not 20" in problem({"prompts": ["a"] * 5, "batch_size": 4}).message
    assert problem({**CAT, "prompts": ["a"]}).path == "prompts"
    assert problem({**CAT, "seeds": [1, 2], "n_iter": 3}).path == "seeds"


def test_a_null_in_one_of_several_prompts_leaves_the_jobs_own_value() -> None:
    job = parse_job({"steps": 20, "prompts": [{"prompt": "a", "steps": None, "seed": None}]})
    assert isinstance(job, Txt2Img)
    assert job.prompts is not None
    assert job.prompts[0].model_fields_set == {"prompt"}


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"prompts": ["a", {"prompt": "b", "width": 2048, "height": 1024}]}, "prompts[1].width"),
        ({"width": 1024, "prompts": ["a", {"prompt": "b", "height": 2048}]}, "prompts[1].height"),
        ({"prompts": [{"prompt": "b", "steps": 2, "sampler_name": "UniPC"}]}, "prompts[0].steps"),
        ({"sampler_name": "UniPC", "prompts": [{"prompt": "b", "steps": 2}]}, "prompts[0].steps"),
        ({"steps": 2, "prompts": ["a", {"prompt": "b", "sampler_name": "UniPC"}]}, "prompts[1]"),
        ({"enable_hr": True, "denoising_strength": 0.5, "prompts": ["a", {"prompt": "b", "width": 768}]}, "prompts[1]"),
    ],
)
def test_one_of_several_prompts_is_held_to_what_holds_for_a_job(raw: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_job(raw, limits=Limits(max_pixels=1024 * 1024))
    assert [problem.path for problem in caught.value.problems] == [path]


def test_what_is_wrong_with_the_job_is_not_said_of_each_prompt() -> None:
    assert problem({"steps": 2, "sampler_name": "UniPC", "prompts": ["a", "b"]}).path == "steps"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"scale": 4, "width": 512, "height": 512}, "scale"),
        ({"resize_mode": 1}, "upscaling_resize_h"),
        ({"resize_mode": 1, "scale": 2}, "upscaling_resize_h"),
    ],
)
def test_an_upscale_job_says_one_thing_about_its_size(fields: dict[str, Any], path: str) -> None:
    assert problem({"type": "upscale", "image": PICTURE, **fields}).path == path


def test_the_size_that_a_resize_mode_leaves_unread_is_told() -> None:
    echo = {"upscaling_resize": 4, "upscaling_resize_w": 512, "upscaling_resize_h": 512}
    by_factor = parse_job({"type": "upscale", "image": PICTURE, "resize_mode": 0, **echo})
    assert by_factor.warnings == ("the size has no effect with resize_mode 0, which is by factor",)
    to_a_size = parse_job({"type": "upscale", "image": PICTURE, "resize_mode": 1, **echo})
    assert to_a_size.warnings == ("upscaling_resize has no effect with resize_mode 1, which is to a size",)


@pytest.mark.parametrize("off", [{"enable_hr": False}, {"hires": {"enabled": False}}])
def test_hires_fix_that_is_off_is_nothing_to_a_start_picture(off: dict[str, Any]) -> None:
    assert parse_job({**CAT, "init_images": [PICTURE], **off}).kind == "img2img"


def test_the_webuis_echo_of_img2img_without_a_mask_is_taken() -> None:
    echo = {"mask_blur_x": 4, "mask_blur_y": 4, "mask_blur": None, "mask_round": True, "inpainting_fill": 0}
    more = {"inpaint_full_res": True, "inpaint_full_res_padding": 0, "inpainting_mask_invert": 0, "mask": None}
    job = parse_job({**CAT, "init_images": [PICTURE], **echo, **more})
    assert type(job) is Img2Img
    assert job.plain_fields() == CAT
    assert job.warnings == ()
    wished = parse_job({**CAT, "init_images": [PICTURE], "mask_blur": 8})
    assert wished.warnings == ("mask_blur has no effect without a mask",)


def test_an_old_sampler_index_that_says_something_else_is_told() -> None:
    assert parse_job({**CAT, "sampler_name": "DDIM", "sampler_index": "Euler"}).warnings == ()
    told = parse_job({**CAT, "sampler_name": "DDIM", "sampler_index": "Heun"}).warnings
    assert told == ("sampler_index is ignored: sampler_name says which sampler",)


def test_a_wish_for_the_jobs_own_pictures_in_the_answer_is_told_to_be_none() -> None:
    start = {**CAT, "init_images": [PICTURE]}
    assert parse_job({**start, "include_init_images": False}).warnings == ()
    (told,) = parse_job({**start, "include_init_images": True}).warnings
    assert told.startswith("include_init_images is ignored")


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"hires": {"scale": 2}}, "hires.denoising_strength"),
        ({"refiner": {"checkpoint": "x"}}, "refiner.switch_at"),
        ({"enable_hr": True}, "denoising_strength"),
        ({"hires": {"denoising_strength": 0.5}, "width": 2048, "height": 2048}, "hires.scale"),
    ],
)
def test_what_is_missing_is_named_where_it_belongs(fields: dict[str, Any], path: str) -> None:
    assert problem({**CAT, **fields}).path == path


def test_a_number_of_hundreds_of_digits_is_not_repeated() -> None:
    assert problem({**CAT, "steps": 1e308}).message == "must be 1 to 150, not 1e+308"
