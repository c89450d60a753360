"""OpenAI's image API as a form of jobs: fields, mistakes with their places, answers."""

from __future__ import annotations

from typing import Any

import pytest

from worker.contract.accept import Accepted, accept
from worker.contract.compat import openai
from worker.contract.operator.presets import Preset
from worker.errors import InvalidInput

PICTURE = "iVBORw0KGgo" + "A" * 60
PRESETS = {
    "quality-high": Preset(name="quality-high", defaults={"steps": 40}),
    "dall-e-3": Preset(name="dall-e-3", defaults={"checkpoint": "Deliberate_v6"}),
}


def accepted(route: str = "images/generations", **fields: Any) -> Accepted:
    return accept({"openai_route": f"/v1/{route}", "openai_input": fields}, presets=PRESETS)


def job(route: str = "images/generations", **fields: Any) -> dict[str, Any]:
    return accepted(route, **fields).job.model_dump(exclude_unset=True, exclude_none=True)


def problems(route: str = "images/generations", **fields: Any) -> dict[str, str | None]:
    with pytest.raises(InvalidInput) as caught:
        accepted(route, **fields)
    return {problem.path.removeprefix("openai_input."): problem.suggestion for problem in caught.value.problems}


def test_fields_of_openai_become_those_of_a_job() -> None:
    made = job(prompt="a cat", n=2, size="1024x768", output_format="webp", output_compression=80, quality="standard")
    assert made == {
        "prompt": "a cat",
        "batch_size": 2,
        "width": 1024,
        "height": 768,
        "output": {"format": "webp", "quality": 80, "delivery": "base64"},
    }


@pytest.mark.parametrize("nothing", [None, ""])
def test_fields_that_say_nothing_change_nothing(nothing: Any) -> None:
    names: tuple[str, ...] = (
        "model",
        "n",
        "size",
        "quality",
        "background",
        "output_format",
        "output_compression",
        "response_format",
    )
    names += ("moderation", "stream", "partial_images", "style", "user", "extra_body", "svg", "frame_count")
    assert job(prompt="a cat", **dict.fromkeys(names, nothing)) == job(prompt="a cat")


def test_a_size_that_is_left_open_is_the_checkpoints_recommended_one() -> None:
    assert job(prompt="a cat", size="auto")["recommended"] is True
    assert "recommended" not in job(prompt="a cat", extra_body={"width": 512, "height": 512})
    assert "recommended" not in job("images/edits", prompt="a cat", image=PICTURE)


def test_models_and_qualities_are_presets_where_the_operator_has_such() -> None:
    dressed = accepted(prompt="a cat", model="dall-e-3", quality="high")
    assert dressed.preset == {"checkpoint": "Deliberate_v6", "steps": 40}
    assert job(prompt="a cat", model="default") == job(prompt="a cat")
    assert job(prompt="a cat", model="Other_v1")["checkpoint"] == {"name": "Other_v1"}


def test_a_quality_without_a_preset_is_a_warning() -> None:
    assert any("quality-low" in warning for warning in accepted(prompt="a cat", quality="low").job.warnings)


def test_a_stream_makes_pictures_one_after_the_other() -> None:
    made = job(prompt="a cat", n=2, stream=True, partial_images=1)
    assert (made["n_iter"], made["stream"], made["live_previews"]) == (2, True, True)
    assert "batch_size" not in made


def test_extra_fields_are_a_jobs_own_also_by_other_names_and_as_json_text() -> None:
    expected = {"steps": 20, "cfg_scale": 5.0, "seed": 7}
    for extra in (
        {"steps": 20, "cfg_scale": 5, "seed": 7},
        {"num_inference_steps": 20, "guidance_scale": 5, "seed": "7"},
        {"extra_body": {"steps": 20, "cfg_scale": 5, "seed": 7}},
        {"extra_body": '{"steps": 20, "guidance_scale": 5, "seed": 7}'},
    ):
        assert job(prompt="a cat", **extra).items() >= expected.items()


def test_a_mask_means_what_is_transparent_in_it() -> None:
    made = job("images/edits", prompt="a cat", image=[PICTURE], mask=PICTURE, input_fidelity="high")
    assert (made["type"], made["mask_from_alpha"], made["inpainting_fill"]) == ("inpaint", True, 1)
    assert made["denoising_strength"] == 0.5
    explicit = job("images/edits", prompt="a cat", image=PICTURE, input_fidelity="high", strength=0.9)
    assert explicit["denoising_strength"] == 0.9


def test_all_mistakes_are_told_at_once_where_the_client_wrote_them() -> None:
    found = problems(
        prompt="a cat",
        n=20,
        size="1001x1000",
        quality="hgih",
        background="transparent",
        model="dall-e-2",
        seed=1.5,
        extra_body={"steps": 999, "cfg_scal": 3},
        output_format="gif",
    )
    assert found == {
        "n": "10",
        "size": "1000x1000",
        "quality": "high",
        "background": "opaque",
        "model": None,
        "seed": None,
        "extra_body.steps": "150",
        "extra_body.cfg_scal": "cfg_scale",
        "output_format": None,
    }


@pytest.mark.parametrize(
    ("size", "near"),
    [("3840x2160", "2048x1152"), ("32x32", "64x64"), ("0x0", "64x64"), ("99999x1", "2048x64"), ("1024", None)],
)
def test_a_size_that_cannot_be_made_is_told_with_the_nearest(size: str, near: str | None) -> None:
    assert problems(prompt="a cat", size=size) == {"size": near}


def test_the_same_said_twice_may_not_differ() -> None:
    assert job(prompt="a cat", size="512x512", width="512", n=2, batch_size=2)["batch_size"] == 2
    assert problems(prompt="a cat", size="512x512", width=640).keys() == {"size"}
    assert problems(prompt="a cat", steps=10, extra_body={"steps": 20}).keys() == {"extra_body.steps"}
    assert problems(prompt="a cat", output_format="png", output={"format": "webp"}).keys() == {"output"}


def test_edits_need_a_picture_and_a_prompt() -> None:
    assert problems("images/edits").keys() == {"image", "prompt"}
    assert problems("images/edits", prompt="a cat", image=[PICTURE, PICTURE]).keys() == {"image"}
    assert problems("images/edits", prompt="a cat", images=[{"file_id": "file-1"}]).keys() >= {"images"}
    assert job("images/variations", image=PICTURE)["type"] == "img2img"


def test_what_has_no_meaning_here_is_refused() -> None:
    assert problems(prompt="a cat", frame_count=4, type="txt2img").keys() == {"frame_count", "type"}
    assert problems(prompt="a cat", output_compression=50).keys() == {"output_compression"}
    assert problems(prompt="a cat", stream=True, response_format="url").keys() == {"response_format"}
    assert problems(prompt="a cat", size=[1]).keys() == {"size"}


@pytest.mark.parametrize("route", ["v1/images/generations", "/openai/v1/images/generations/", "images/generations?a=b"])
def test_routes_are_known_with_and_without_their_root(route: str) -> None:
    made = accept({"openai_route": route, "openai_input": '{"prompt": "a cat"}'})
    assert made.job.kind == "txt2img"


@pytest.mark.parametrize(
    ("raw", "path", "suggestion"),
    [
        ({"openai_route": "/v1/image/generations", "openai_input": {}}, "openai_route", "/v1/images/generations"),
        ({"openai_input": {"prompt": "a cat"}}, "openai_route", None),
        ({"openai_route": "/v1/images/generations"}, "openai_input", None),
        ({"openai_route": "/v1/images/generations", "openai_input": {}, "seed": 7}, "seed", None),
    ],
)
def test_what_is_no_request_is_told(raw: dict[str, Any], path: str, suggestion: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        accept(raw)
    assert [(problem.path, problem.suggestion) for problem in caught.value.problems] == [(path, suggestion)]


def test_an_answer_has_openais_shape_and_says_more() -> None:
    call = openai.to_job({"openai_route": "/v1/images/generations", "openai_input": {"prompt": "a cat"}})
    ours = {
        "images": ["/9j/abc", "https://store.example/1.jpg?signed"],
        "seeds": [7, 8],
        "applied": {"size": {"width": 64, "height": 32}, "checkpoint": "Deliberate_v6"},
        "warnings": ["a word"],
    }
    told = openai.to_answer(call, ours, now=lambda: 1234.5)
    assert told["data"] == [
        {"b64_json": "/9j/abc", "seed": 7},
        {"url": "https://store.example/1.jpg?signed", "seed": 8},
    ]
    assert (told["created"], told["size"], told["output_format"]) == (1234, "64x32", "jpeg")
    assert told["usage"]["total_tokens"] == 0
    assert (told["applied"]["checkpoint"], told["warnings"]) == ("Deliberate_v6", ["a word"])


def test_models_are_presets_and_checkpoints() -> None:
    made = accept({"openai_route": "/v1/models"}, presets=PRESETS)
    told = made.answer({"raw": [{"model_name": "Deliberate_v6", "title": "Deliberate_v6.safetensors [0123]"}]})
    assert [entry["id"] for entry in told["data"]] == ["dall-e-3", "quality-high", "Deliberate_v6"]
