"""Bodies on A1111's own paths mean what A1111 draws by them, where a job of ours would be read otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.contract.parse.test_kinds import PICTURE
from worker.contract.accept import accept
from worker.contract.compat.webui_defaults import FIRST_SAMPLER, drawing, upscaling
from worker.contract.expand.prompts import expand
from worker.contract.types.job import Generation, Job
from worker.contract.types.kinds import Img2Img
from worker.errors import InvalidInput


def posted(endpoint: str, **payload: Any) -> Job:
    return accept({"api": {"method": "POST", "endpoint": f"/sdapi/v1/{endpoint}"}, "payload": payload}).job


@pytest.mark.parametrize(
    ("body", "read", "told"),
    [
        ({"width": 500, "height": 300}, {"width": 496, "height": 296}, 2),
        ({"hr_resize_x": 1001, "hr_resize_y": 0}, {"hr_resize_x": 1000, "hr_resize_y": 0}, 1),
        ({"inpainting_mask_invert": 64}, {"inpainting_mask_invert": 1}, 1),
        ({"inpainting_mask_invert": -1}, {"inpainting_mask_invert": 1}, 1),
        ({"sampler_index": None}, {"sampler_index": None}, 0),
        ({"sampler_index": "", "sampler_name": ""}, {"sampler_index": FIRST_SAMPLER}, 1),
        ({"sampler_index": "", "sampler_name": "Euler a"}, {"sampler_index": ""}, 0),
        ({"refiner_checkpoint": "x"}, {"refiner_switch_at": 0}, 1),
        ({"refiner_checkpoint": "x", "refiner_switch_at": None}, {"refiner_switch_at": 0}, 1),
        ({"refiner_checkpoint": "x", "refiner_switch_at": 0.8}, {"refiner_switch_at": 0.8}, 0),
        ({"refiner_checkpoint": "None"}, {}, 0),
        ({"width": 512, "height": 60, "hr_resize_x": 64}, {"width": 512, "height": 60, "hr_resize_x": 64}, 0),
    ],
)
def test_what_a1111_reads_otherwise_is_read_so_and_told(body: dict[str, Any], read: dict[str, Any], told: int) -> None:
    drawn = drawing(body, from_picture=False)
    assert drawn.fields == {"prompt": "", **body, **read}
    assert len(drawn.warnings) == told


def test_an_empty_sampler_index_is_a1111s_first_sampler_and_none_at_all_its_default() -> None:
    job = posted("txt2img", prompt="a cat", sampler_index="")
    assert isinstance(job, Generation)
    assert job.sampler_name == "DPM++ 2M"
    unsaid = posted("txt2img", prompt="a cat", sampler_name=None, sampler_index=None)
    assert isinstance(unsaid, Generation)
    assert unsaid.sampler_name is None


def test_a_job_of_ours_stays_as_strict_as_it_was() -> None:
    odd = {"prompt": "a cat", "width": 500, "refiner_checkpoint": "x", "comments": {"a": "b"}}
    with pytest.raises(InvalidInput) as caught:
        accept(odd)
    assert {problem.path for problem in caught.value.problems} == {"width"}
    job = posted("txt2img", **odd)
    assert isinstance(job, Generation)
    assert (job.width, job.refiner_switch_at, job.lenient) == (496, 0, True)
    assert [warning for warning in job.warnings if warning.startswith("comments is ignored")]


@pytest.mark.parametrize(("batches", "starts"), [(1, ["a", "b"]), (2, ["a", "b", "a", "b"])])
def test_each_start_picture_of_a_batch_makes_one_picture_in_every_batch(batches: int, starts: list[str]) -> None:
    pictures = {"a": PICTURE, "b": f"data:image/png;base64,{PICTURE}"}
    body = {"init_images": list(pictures.values()), "batch_size": 2, "n_iter": batches, "seed": 7}
    job = posted("img2img", prompt="a cat", **body)
    assert isinstance(job, Img2Img)
    made = [piece.job for piece in expand(job, draw=lambda: 0, lists={}, lora_files=())]
    assert [(each.seed, each.model_dump()["init_images"], each.batch_size) for each in made] == [
        (7 + index, [pictures[name]], 1) for index, name in enumerate(starts)
    ]


def test_a_batch_of_variations_counts_its_subseeds() -> None:
    body = {"init_images": [PICTURE, PICTURE], "batch_size": 2, "seed": 7, "subseed": 3, "subseed_strength": 0.5}
    job = posted("img2img", prompt="a cat", **body)
    assert isinstance(job, Generation)
    made = [piece.job for piece in expand(job, draw=lambda: 0, lists={}, lora_files=())]
    assert [(each.seed, each.subseed) for each in made] == [(7, 3), (7, 4)]


def test_far_too_many_batches_of_start_pictures_are_refused_and_not_built() -> None:
    with pytest.raises(InvalidInput) as caught:
        posted("img2img", prompt="a cat", init_images=[PICTURE, PICTURE], batch_size=2, n_iter=10**12)
    assert {problem.path for problem in caught.value.problems} == {"payload.init_images"}


def test_nothing_is_made_larger_unasked() -> None:
    assert upscaling({"image": PICTURE}) == {"image": PICTURE, "upscaler_1": "None", "resize_mode": 0}
    assert upscaling({"upscaling_resize_w": 100})["resize_mode"] == 0
    to_size = upscaling({"resize_mode": 1, "upscaler_1": "Lanczos", "upscaling_resize_h": 100})
    assert to_size == {
        "resize_mode": 1,
        "upscaler_1": "Lanczos",
        "upscaling_resize_h": 100,
        "upscaling_resize_w": 512,
    }


@pytest.mark.parametrize(
    ("body", "clip_skip", "told"),
    [
        ({"clip_skip": 2}, 2, False),
        ({"clip_skip": "2"}, 2, False),
        ({"clip_skip": 0}, None, False),
        ({"clip_skip": -2}, None, True),
        ({"clip_skip": 1, "override_settings": {"CLIP_stop_at_last_layers": 2}}, 2, True),
        ({"clip_skip": 2, "override_settings": {"CLIP_stop_at_last_layers": 2}}, 2, False),
        ({"clip_skip": 2, "override_settings": {"CLIP_stop_at_last_layers": None}}, 2, False),
    ],
)
def test_a_clip_skip_beside_the_option_or_of_no_layer_is_ignored(
    body: dict[str, Any], clip_skip: int | None, told: object
) -> None:
    job = posted("txt2img", prompt="a cat", **body)
    assert isinstance(job, Generation)
    assert job.clip_skip == clip_skip
    assert any(warning.startswith("clip_skip is ignored") for warning in job.warnings) == told


@pytest.mark.parametrize(
    "field",
    [{"type": "txt2img"}, {"action": "draw"}, {"style": "anime"}, {"output": "png"}, {"plot": "x"}, {"tiles": 4}],
)
def test_a_name_that_only_our_jobs_read_otherwise_is_a_warning(field: dict[str, Any]) -> None:
    job = posted("txt2img", prompt="a cat", **field)
    assert isinstance(job, Generation)
    assert job.plain_fields() == {"prompt": "a cat"}
    assert [warning for warning in job.warnings if "is ignored" in warning]
