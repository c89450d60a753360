from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

from worker.contract.accept import accept
from worker.contract.presets import PresetsInvalid, dress, read_presets
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
SHIPPED = read_presets(resources.files("worker.contract").joinpath("data/presets.yaml").read_text(encoding="utf-8"))


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
    assert dressed.fields["output"] == {"strip_metadata": True}
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
