from __future__ import annotations

import time
from typing import Any

import pytest

from worker.contract.job import Generation, Hires, Refiner, Txt2Img
from worker.contract.kinds import KINDS, Img2Img, Inpaint, Interrogate, Listing, Upscale, Validate
from worker.contract.normal import _NESTED
from worker.contract.request import parse_job
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
    ],
)
def test_the_kind_is_inferred_when_it_is_unambiguous(raw: dict[str, Any], kind: str) -> None:
    assert parse_job(raw).kind == kind


def test_a_picture_alone_is_ambiguous() -> None:
    assert problem({"image": PICTURE}).path == "type"


def test_an_unknown_kind_gets_the_one_that_was_meant() -> None:
    assert problem({"type": "smaplers"}).suggestion == "samplers"


def test_a_field_of_another_kind_says_which_kind_has_it() -> None:
    assert problem({**CAT, "mask_blur": 4}).message == "is a field of inpaint; this job is txt2img"
    assert problem({"type": "samplers", "steps": 4}).message == (
        "is a field of txt2img, img2img, inpaint; this job is listing"
    )
    assert problem({**CAT, "type": "img2img", "init_images": [PICTURE], "hr_scale": 2}).path == "hr_scale"


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


@pytest.mark.parametrize(
    "value", ["/etc/passwd", "cat.png", "file:///etc/passwd", "ftp://a/b", "", 5, None, "data:,hello"]
)
def test_what_is_no_picture_is_refused(value: object) -> None:
    assert problem({**CAT, "init_images": [value]}).path == "init_images[0]"


def test_a_large_picture_is_read_quickly() -> None:
    started = time.perf_counter()
    parse_job({**CAT, "init_images": ["A" * 20_000_000]})
    assert time.perf_counter() - started < 0.5


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


# upscale, interrogate, validate


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
    assert problem({"type": "upscale", "image": PICTURE, "width": 100}).path == "upscaling_resize_h"
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
    assert problem({"type": "validate", "job": {**CAT, "stepz": 1}}) == Problem("job.stepz", "is not a field", "steps")


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
    assert problem({**CAT, "hires": {"scale": 2}}).path == "denoising_strength"
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
