from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

from worker.contract.accept import accept
from worker.contract.operator.presets import PresetsInvalid, dress, read_presets
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
    dressed = dress({"prompt": "a", "steps": 15, "preset": "fast", "output": {"quality": 80}}, OWN)
    assert dressed.fields == {
        "prompt": "a",
        "steps": 15,
        "sampler_name": "Euler",
        "output": {"format": "webp", "quality": 80},
    }
    assert set(dressed.applied) == {"sampler_name", "output"}


def test_what_a_preset_forces_wins_and_is_said() -> None:
    dressed = dress({"prompt": "a", "negative_prompt": "x", "preset": ["fast", "house"]}, OWN)
    assert dressed.fields["negative_prompt"] == "ugly"
    assert dressed.fields["output"] == {"format": "webp", "strip_metadata": True}
    assert dressed.warnings == ["negative_prompt is set by the preset 'house'"]


def test_a_value_over_a_presets_limit_is_a_mistake() -> None:
    (problem,) = dress({"prompt": "a", "steps": 30, "preset": "fast"}, OWN).problems
    assert (problem.path, problem.message) == ("steps", "must be at most 20 with the preset 'fast', not 30")


@pytest.mark.parametrize(("preset", "path", "near"), [("fats", "preset", "fast"), (["fast", 5], "preset[1]", None)])
def test_an_unknown_preset_is_refused(preset: Any, path: str, near: str | None) -> None:
    (problem,) = dress({"prompt": "a", "preset": preset}, OWN).problems
    assert (problem.path, problem.suggestion) == (path, near)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_shipped_preset_makes_a_job(name: str) -> None:
    accepted = accept({"prompt": "a cat", "preset": name}, presets=SHIPPED)
    assert set(accepted.preset) == set(SHIPPED[name].defaults)
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
    fields = dress({"prompt": "a", "preset": order}, BOTH).fields
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
    dressed = dress({"prompts": ["a", {"prompt": "b", "width": 1024}], "preset": "first"}, BOTH)
    assert dressed.fields["prompts"] == ["a", {"prompt": "b"}]
    assert dressed.warnings == ["prompts[1].width is set by the preset 'first'"]


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
    assert (accepted.form, accepted.job.plain_fields()["steps"]) == ("diffusers", 7)
