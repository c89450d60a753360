from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

from worker.contract.accept import accept
from worker.contract.expand.prompts import expand
from worker.contract.operator.apply_presets import apply_presets
from worker.contract.operator.presets import PresetsInvalid, read_presets
from worker.contract.types.job import Generation
from worker.errors import InvalidInput

OWN = read_presets(
    """
fast:
  about: Quick.
  defaults: {steps: 10, sampler_name: Euler, output: {format: webp}}
  limits: {steps: 20}
house:
  forced: {negative_prompt: ugly, output: {strip_metadata: true}}
"""
)
SHIPPED = read_presets(
    resources.files("worker.contract.operator").joinpath("data/presets.yaml").read_text(encoding="utf-8")
)


def test_a_preset_fills_in_what_the_job_leaves_out() -> None:
    result = apply_presets({"prompt": "a", "steps": 15, "preset": "fast", "output": {"quality": 80}}, OWN)
    assert result.fields == {
        "prompt": "a",
        "steps": 15,
        "sampler_name": "Euler",
        "output": {"format": "webp", "quality": 80},
    }
    assert set(result.applied) == {"sampler_name", "output"}


def test_what_a_preset_forces_wins_and_is_said() -> None:
    result = apply_presets({"prompt": "a", "negative_prompt": "x", "preset": ["fast", "house"]}, OWN)
    assert result.fields["negative_prompt"] == "ugly"
    assert result.fields["output"] == {"format": "webp", "strip_metadata": True}
    assert result.warnings == ["negative_prompt is set by the preset 'house'"]


def test_a_value_over_a_presets_limit_is_a_mistake() -> None:
    (problem,) = apply_presets({"prompt": "a", "steps": 30, "preset": "fast"}, OWN).problems
    assert (problem.path, problem.message) == ("steps", "must be at most 20 with the preset 'fast', not 30")


@pytest.mark.parametrize(("preset", "path", "near"), [("fats", "preset", "fast"), (["fast", 5], "preset[1]", None)])
def test_an_unknown_preset_is_refused(preset: Any, path: str, near: str | None) -> None:
    (problem,) = apply_presets({"prompt": "a", "preset": preset}, OWN).problems
    assert (problem.path, problem.suggestion) == (path, near)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_shipped_preset_makes_a_job(name: str) -> None:
    accepted = accept({"prompt": "a cat", "preset": name}, presets=SHIPPED)
    composed = {"prompt": SHIPPED[name].prompt.is_set, "negative_prompt": bool(SHIPPED[name].negative.add)}
    assert set(accepted.preset) == {*SHIPPED[name].defaults, *(field for field, is_set in composed.items() if is_set)}
    assert SHIPPED[name].about


def test_presets_combine() -> None:
    accepted = accept({"prompt": "a cat", "preset": ["high", "sdxl-16:9"]}, presets=SHIPPED)
    fields = accepted.job.plain_fields()
    assert (fields["width"], fields["enable_hr"]) == (1344, True)


def test_a_preset_that_is_not_there_is_refused_when_it_is_accepted() -> None:
    with pytest.raises(InvalidInput):
        accept({"prompt": "a cat", "preset": "nope"}, presets=SHIPPED)


@pytest.mark.parametrize(
    "text", ["[", "- a", "a: 5", "a: {default: {}}", "a: {limits: {steps: many}}", "a: {defaults: [1]}"]
)
def test_a_bad_file_says_what_is_wrong(text: str) -> None:
    with pytest.raises(PresetsInvalid):
        read_presets(text)


BOTH = read_presets(
    """
first:
  defaults: {steps: 10, output: {quality: 50}}
  forced: {output: {format: jpeg}, width: 512}
second:
  defaults: {steps: 30, width: 768, output: {quality: 80, format: png}}
  limits: {steps: 40}
fine:
  defaults: {sampler_name: Euler, scheduler: Karras, hires: {scale: 2, denoising_strength: 0.5}}
"""
)


@pytest.mark.parametrize("order", [["first", "second"], ["second", "first"]])
def test_what_one_preset_forces_no_other_ones_default_undoes(order: list[str]) -> None:
    fields = apply_presets({"prompt": "a", "preset": order}, BOTH).fields
    assert (fields["width"], fields["output"]["format"]) == (512, "jpeg")
    assert fields["output"]["quality"] == (80 if order[1] == "second" else 50)


@pytest.mark.parametrize(
    ("job", "path"),
    [
        ({"steps": "99"}, "steps"),
        ({"prompts": ["b", {"prompt": "a", "steps": 99}]}, "prompts[1].steps"),
        ({"compat": "diffusers", "num_inference_steps": 99}, "num_inference_steps"),
    ],
)
def test_a_presets_limit_holds_however_the_number_is_said(job: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        accept({**job, "preset": "second"}, presets=BOTH)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_what_a_preset_forces_holds_for_each_of_several_prompts() -> None:
    result = apply_presets({"prompts": ["a", {"prompt": "b", "width": 1024}], "preset": "first"}, BOTH)
    assert result.fields["prompts"] == ["a", {"prompt": "b"}]
    assert result.warnings == ["prompts[1].width is set by the preset 'first'"]


@pytest.mark.parametrize(
    ("job", "kept"),
    [
        ({"sampler_index": "DDIM"}, {"sampler_name": "DDIM"}),
        ({"sampler_name": "DPM++ 2M Exponential"}, {"sampler_name": "DPM++ 2M Exponential"}),
        ({"hr_scale": 1.5}, {"hr_scale": 1.5, "enable_hr": True, "sampler_name": "Euler", "scheduler": "Karras"}),
        ({"hires": {"enabled": False}}, {"enable_hr": False, "sampler_name": "Euler", "scheduler": "Karras"}),
    ],
)
def test_a_default_gives_way_to_what_the_client_says_in_another_spelling(
    job: dict[str, Any], kept: dict[str, Any]
) -> None:
    fields = accept({"prompt": "a", "preset": "fine", **job}, presets=BOTH).job.plain_fields()
    watched = ("sampler_name", "scheduler", "hr_scale", "enable_hr")
    expected = {"enable_hr": True, "hr_scale": 2.0, **kept} if kept.get("enable_hr") is not False else kept
    assert {name: fields[name] for name in watched if name in fields} == expected


def test_a_presets_defaults_are_for_translated_jobs_too() -> None:
    accepted = accept({"compat": "diffusers", "prompt": "a", "num_inference_steps": 7, "preset": "first"}, presets=BOTH)
    assert (accepted.form.name, accepted.job.plain_fields()["steps"]) == ("diffusers", 7)


ROLES = read_presets(
    """
luca:
  role: character
  base_model: SDXL
  prompt: {before: "luca, a boy with red hair,"}
  negative: {add: beard}
  loras: [{name: character/luca, scale: 0.85}]
  references: [refs/luca.jpg]
  consistency: {threshold: 0.5, against: mean}
mia: {role: character, prompt: {before: mia}}
beach:
  role: scene
  prompt: {after: "on a beach # low tide"}
  loras: [warm_light]
pixar:
  role: style
  prompt: {after: 3d film still}
  negative: {add: photograph}
  loras: [{name: Warm_Light.safetensors, scale: 0.3}]
  defaults: {steps: 20}
fine: {role: quality, defaults: {steps: 30}}
"""
)
ALL = {"character": "luca", "scene": "beach", "style": "pixar"}


def test_roles_add_up_around_the_clients_own_prompt() -> None:
    accepted = accept({**ALL, "prompt": "running", "negative_prompt": "rain"}, presets=ROLES)
    fields = accepted.job.plain_fields()
    assert fields["prompt"] == "luca, a boy with red hair, running, on a beach # low tide\n, 3d film still"
    assert fields["negative_prompt"] == "rain, beard, photograph"
    assert accepted.preset["prompt"] == fields["prompt"]
    assert accepted.job.base_models == {"character": "SDXL"}


def test_a_comment_hides_none_of_the_words_behind_it() -> None:
    job = accept({"prompt": "a # note", "style": "pixar"}, presets=ROLES).job
    assert isinstance(job, Generation)
    (piece,) = expand(job, draw=lambda: 1, lists={})
    assert piece.job.prompt.endswith(", 3d film still")
    assert "note" not in piece.job.prompt


@pytest.mark.parametrize(
    ("own", "loras"),
    [
        ([], [("character/luca", 0.85), ("Warm_Light.safetensors", 0.3)]),
        ([{"name": "warm_light", "scale": 0.5}], [("warm_light", 0.5), ("character/luca", 0.85)]),
        (["luca"], [("luca", None), ("Warm_Light.safetensors", 0.3)]),
    ],
)
def test_loras_are_added_and_of_one_named_twice_the_client_has_the_scale(
    own: list[Any], loras: list[tuple[str, float | None]]
) -> None:
    job = accept({**ALL, "prompt": "a", "loras": own}, presets=ROLES).job
    assert isinstance(job, Generation)
    assert [(lora.ref, lora.scale) for lora in job.loras or ()] == loras


def test_a_lora_in_the_clients_prompt_is_not_added_again() -> None:
    job = accept({"character": "luca", "prompt": "a <lora:luca:0.4>"}, presets=ROLES).job
    assert isinstance(job, Generation)
    assert job.loras is None


def test_several_prompts_each_get_the_words_and_loras() -> None:
    prompts = ["a", {"prompt": "b", "negative_prompt": "n", "loras": ["x"]}]
    job = accept({"character": "luca", "style": "pixar", "prompts": prompts}, presets=ROLES).job
    assert isinstance(job, Generation)
    pieces = [piece.job for piece in expand(job, draw=lambda: 1, lists={})]
    assert [piece.prompt for piece in pieces] == [
        "luca, a boy with red hair, a, 3d film still",
        "luca, a boy with red hair, b, 3d film still",
    ]
    assert [piece.negative_prompt for piece in pieces] == ["beard, photograph", "n, beard, photograph"]
    assert [[lora.ref for lora in piece.loras or ()] for piece in pieces] == [
        ["character/luca", "Warm_Light.safetensors"],
        ["x", "character/luca", "Warm_Light.safetensors"],
    ]


def test_a_preset_in_the_list_wins_over_one_of_a_role() -> None:
    job = accept({"prompt": "a", "style": "pixar", "preset": ["fine"]}, presets=ROLES).job
    assert job.plain_fields()["steps"] == 30


def test_a_job_of_presets_alone_needs_no_prompt() -> None:
    fields = accept({"character": "luca", "scene": "beach"}, presets=ROLES).job.plain_fields()
    assert fields["prompt"] == "luca, a boy with red hair, on a beach # low tide"


@pytest.mark.parametrize(
    ("job", "path", "message"),
    [
        ({"character": "luka"}, "character", "is not a character of this endpoint (luca, mia)"),
        ({"character": "pixar"}, "character", "must be a character (luca, mia); 'pixar' is a style"),
        ({"scene": 5}, "scene", "must be a name, not 5"),
        ({"character": "luca", "preset": ["mia"]}, "preset[0]", "is a second character beside 'luca'"),
        ({"preset": ["luca", "mia"]}, "preset[1]", "prompts for regions of a picture are not supported"),
    ],
)
def test_a_wrong_role_is_refused(job: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        accept({"prompt": "a", **job}, presets=ROLES)
    assert caught.value.problems[0].path == path
    assert message in caught.value.problems[0].message


def test_a_role_is_no_field_of_the_webuis_own_paths() -> None:
    raw = {"api": {"endpoint": "/sdapi/v1/txt2img", "method": "POST"}, "payload": {"prompt": "a", "style": "pixar"}}
    found = accept(raw, presets=ROLES)
    assert found.preset == {}
    assert any(warning.startswith("style is ignored") for warning in found.job.warnings)


def test_a_mistake_in_an_added_lora_names_the_preset_that_adds_it() -> None:
    accepted = accept({"prompt": "a", "character": "luca", "loras": ["own"]}, presets=ROLES)
    placed = accepted.placed(InvalidInput.at("loras[1]", "is gone"))
    assert placed.problems[0].path == "character"
    assert accepted.placed(InvalidInput.at("loras[0]", "is gone")).problems[0].path == "loras[0]"


@pytest.mark.parametrize(
    "text",
    [
        "a: {role: hero}",
        "a: {prompt: words}",
        "a: {prompt: {middle: x}}",
        "a: {loras: [{scale: 1}]}",
        "a: {consistency: {threshold: 2}}",
        "a: {limits: {steps: true}}",
    ],
)
def test_a_bad_role_says_what_is_wrong(text: str) -> None:
    with pytest.raises(PresetsInvalid, match=r"^a: "):
        read_presets(text)


def test_a_preset_shows_only_what_it_sets() -> None:
    assert ROLES["mia"].to_json() == {"name": "mia", "role": "character", "prompt": {"before": "mia"}}
