"""Reading workflows: stages, defaults, names, and every mistake where the client wrote it."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

from worker.contract.accept import accept
from worker.contract.operator.presets import read_presets
from worker.contract.operator.workflows import WorkflowsInvalid, read_workflows
from worker.contract.types.composed.acceptance import QualityCriterion
from worker.contract.types.composed.workflow import Continue, Workflow
from worker.contract.types.job import Txt2Img
from worker.contract.types.kinds import Img2Img, JudgeImages, Upscale
from worker.errors import InvalidInput

SHIPPED = read_workflows(
    resources.files("worker.contract.operator").joinpath("data/workflows.yaml").read_text(encoding="utf-8")
)
BASE = {"name": "base", "type": "txt2img", "width": 768, "height": 1344}
MID = {"name": "mid", "type": "img2img", "scale": 2, "upscaler": "Lanczos", "denoising_strength": 0.25}
FINAL = {"name": "final", "type": "upscale", "scale": 2, "upscaler": "Lanczos"}

JUDGE = {"type": "judge", "quality": {}}


def read(*stages: Any, **fields: Any) -> Workflow:
    raw = {"type": "workflow", "prompt": "a cat", **({"stages": list(stages)} if stages else {}), **fields}
    job = accept(raw, workflows=SHIPPED).job
    assert isinstance(job, Workflow)
    return job


def mistakes(*stages: Any, **fields: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        read(*stages, **fields)
    return [problem.path for problem in caught.value.problems]


def test_a_stage_is_a_job_with_the_defaults_of_the_whole() -> None:
    job = read(BASE, MID, FINAL, seed=7, steps=30, checkpoint="x", refiner={"checkpoint": "r", "switch_at": 0.8})
    base, mid, final = (stage.job for stage in job.plan)
    assert isinstance(base, Txt2Img)
    assert isinstance(mid, Img2Img)
    assert isinstance(final, Upscale)
    assert (base.prompt, base.seed, base.steps, base.width, base.refiner_switch_at) == ("a cat", 7, 30, 768, 0.8)
    assert (mid.prompt, mid.steps, mid.width, mid.override_settings) == (
        "a cat",
        30,
        None,
        {"upscaler_for_img2img": "Lanczos"},
    )
    assert (final.upscaling_resize, final.upscaler_1) == (2.0, "Lanczos")
    assert [stage.source for stage in job.plan] == [None, "base", "mid"]
    assert job.stage("mid").scale == 2.0


def test_a_prompt_that_the_first_stage_draws_is_no_plain_text_in_the_later_ones() -> None:
    drawn = {"prompt": "a {red|blue} door", "wildcards": True}
    assert read(BASE, MID, **drawn).warnings == ()
    (warning,) = read(BASE, {**MID, "prompt": "a {green|grey} door"}, **drawn).warnings
    assert warning.startswith("mid: prompt: '{green|grey}' is read as plain words")


def test_a_stage_may_begin_with_any_earlier_one() -> None:
    job = read(BASE, MID, {**FINAL, "from": "base"})
    assert job.stage("final").source == "base"


def test_stages_without_a_name_are_told_apart_from_those_that_have_one() -> None:
    picture = "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAknRFWHRw"
    job = read({**BASE, "name": "img2img-1"}, {**MID, "name": ""}, FINAL)
    assert [(stage.name, stage.source) for stage in job.plan][1:] == [
        ("img2img-1-", "img2img-1"),
        ("final", "img2img-1-"),
    ]
    job = read({"init_images": [picture]}, {**FINAL, "name": None})
    assert [(stage.name, stage.source) for stage in job.plan] == [("img2img-0", None), ("upscale-1", "img2img-0")]


def test_a_stage_s_own_fields_take_the_place_of_defaults_that_exclude_them() -> None:
    job = read({**BASE, "prompts": ["a", "b"]}, {**MID, "seeds": [1, 2]}, seed=7)
    base, mid = (stage.job for stage in job.plan)
    assert isinstance(base, Txt2Img)
    assert isinstance(mid, Img2Img)
    assert ([part.prompt for part in base.prompts or ()], base.prompt, base.seed) == (["a", "b"], "", 7)
    assert (mid.seeds, mid.seed) == ([1, 2], None)


def test_a_judge_stage_judges_the_stage_before_and_takes_defaults_of_the_whole() -> None:
    job = read(BASE, {**JUDGE, "keep": "all"}, {"name": "again", "type": "judge"}, FINAL, quality={"least": 0.7})
    first, again = job.plan[1].job, job.plan[2].job
    assert isinstance(first, JudgeImages)
    assert isinstance(again, JudgeImages)
    assert [stage.source for stage in job.plan] == [None, "base", "judge-1", "again"]
    assert (first.quality, again.quality) == (QualityCriterion(), QualityCriterion(least=0.7))
    assert [stage.keep for stage in job.plan[1:3]] == ["all", "accepted"]


def test_a_first_stage_may_make_pictures_until_enough_are_accepted() -> None:
    job = read(BASE, MID, accept={"count": 2, "quality": {}})
    base, mid = (stage.job for stage in job.plan)
    assert isinstance(base, Txt2Img)
    assert isinstance(mid, Img2Img)
    assert (base.accept is not None, mid.accept) == (True, None)


@pytest.mark.parametrize(
    ("field", "value"), [("accept", {"count": 2, "quality": {}}), ("n_iter", 3), ("width", 512), ("seed", 4)]
)
def test_a_continuation_refuses_what_only_the_stage_that_made_its_pictures_could_do(field: str, value: object) -> None:
    for stages in ({}, {"stages": [MID, FINAL]}):
        with pytest.raises(InvalidInput) as refused:
            accept({"type": "continue", "job": "night", field: value, **stages})
        assert [problem.path for problem in refused.value.problems] == [field]
    whole = {
        "type": "continue",
        "job": "night",
        "after": "base",
        "prompt": "a cat",
        "stages": [BASE, MID],
        field: value,
    }
    assert accept(whole).job.kind == "continue", "a workflow that is sent again as it was"


def test_the_number_and_size_of_pictures_are_for_the_first_stage() -> None:
    job = read({**BASE, "height": None}, MID, n_iter=4, width=512, height=640)
    base, mid = (stage.job for stage in job.plan)
    assert isinstance(base, Txt2Img)
    assert isinstance(mid, Img2Img)
    assert (base.n_iter, base.width, base.height) == (4, 768, 640)
    assert (mid.n_iter, mid.width, mid.height) == (None, None, None)


def test_a_first_stage_may_begin_with_the_clients_picture() -> None:
    picture = "iVBORw0KGgoAAAANSUhEUgAAAEAAAABACAIAAAAlC+aJAAAAknRFWHRw"
    job = read({**MID, "init_images": [picture]}, FINAL)
    assert [stage.source for stage in job.plan] == [None, "mid"]
    job = read(MID, FINAL, init_images=[picture])
    assert [stage.source for stage in job.plan] == [None, "mid"]


@pytest.mark.parametrize(
    ("stages", "fields", "paths"),
    [
        ((BASE, {**MID, "denoising_strength": 3}), {}, ["stages[1].denoising_strength"]),
        ((BASE, {**MID, "from": "bass"}), {}, ["stages[1].from"]),
        ((BASE, {**MID, "from": "mid"}), {}, ["stages[1].from"]),
        (({**BASE, "from": "mid"}, MID), {}, ["stages[0].from"]),
        ((BASE, {**MID, "name": "base"}), {}, ["stages[1].name"]),
        ((BASE, {**MID, "width": 512}), {}, ["stages[1].scale"]),
        ((BASE, {"type": "listing"}), {}, ["stages[1].type"]),
        ((BASE, {"name": "x"}), {}, ["stages[1].type"]),
        ((BASE, "mid"), {}, ["stages[1]"]),
        ((MID,), {}, ["stages[0].type"]),
        (({**BASE, "enabled": False}, MID), {}, ["stages[1].from"]),
        (({**BASE, "enabled": False},), {}, ["stages"]),
        (({**BASE, "output": {}},), {}, ["stages[0].output"]),
        (({**BASE, "seed_offset": -1},), {}, ["stages[0].seed_offset"]),
        (({**BASE, "seed_offset": 2**52},), {"seed": 2**53 - 1}, ["stages[0].seed_offset"]),
        ((BASE, {**MID, "scale": "x"}), {}, ["stages[1].scale"]),
        ((BASE, {**MID, "scale": 100}), {}, ["stages[1].scale"]),
        ((BASE, {**MID, "from": 5}), {}, ["stages[1].from"]),
        (({**BASE, "name": "pictures"}, MID), {}, ["stages[0].name"]),
        (tuple({**BASE, "name": f"b{number}"} for number in range(17)), {}, ["stages"]),
        ((BASE, {**MID, "accept": {"quality": {}}}), {}, ["stages[1].accept"]),
        ((BASE, MID), {"output": {"rejected": "store"}}, ["output.rejected"]),
        ((JUDGE,), {}, ["stages[0].type"]),
        ((BASE, {"type": "judge"}), {}, ["stages[1]"]),
        ((BASE, {**JUDGE, "keep": "best"}), {}, ["stages[1].keep"]),
        ((BASE, {**JUDGE, "images": ["key:a.png"]}), {}, ["stages[1].images"]),
        ((BASE, {**JUDGE, "steps": 3}), {}, ["stages[1].steps"]),
        ((BASE, {**JUDGE, "quality": {"least": 3}}), {}, ["stages[1].quality.least"]),
        ((BASE, {"type": "judge"}), {"quality": {"least": 3}}, ["quality.least"]),
        ((BASE, {**MID, "keep": "accepted"}), {}, ["stages[1].keep"]),
        ((BASE, MID), {"until": "end"}, ["until"]),
        ((BASE, MID), {"output": {"intermediates": ["bas"]}}, ["output.intermediates[0]"]),
        ((BASE, MID), {"steps": 999, "stesp": 1}, ["steps", "stesp"]),
        ((), {}, ["stages"]),
        ((), {"stages": "base"}, ["stages"]),
        ((), {"workflow": "three_stage"}, ["workflow"]),
        ((), {"workflow": "three_stages", "stages": {"fin": {}}}, ["stages.fin"]),
        ((), {"workflow": "three_stages", "stages": {"final": {"scale": 99}}}, ["stages.final.scale"]),
        ((), {"workflow": "three_stages", "stages": {"final": 3}}, ["stages.final"]),
    ],
)
def test_each_mistake_is_placed_where_it_was_written(stages: Any, fields: Any, paths: list[str]) -> None:
    assert mistakes(*stages, **fields) == paths


def test_a_mistake_in_a_default_is_told_once() -> None:
    assert mistakes(BASE, MID, cfg_scale=99) == ["cfg_scale"]


def test_a_named_workflow_is_changed_stage_by_stage() -> None:
    job = read(workflow="three_stages", stages={"mid": {"enabled": False}, "final": {"scale": 4}}, steps=20)
    base, mid, final = job.plan
    assert [base.enabled, mid.enabled, final.enabled] == [True, False, True]
    assert isinstance(base.job, Txt2Img)
    assert isinstance(final.job, Upscale)
    assert (base.job.steps, base.job.height, final.job.upscaling_resize) == (20, 1344, 4.0)
    listed = read({"name": "base", "width": 512}, workflow="three_stages")
    assert isinstance(listed.plan[0].job, Txt2Img)
    assert listed.plan[0].job.width == 512


@pytest.mark.parametrize("name", ["text2img_upscale", "three_stages"])
def test_the_shipped_workflows_need_a_prompt_alone(name: str) -> None:
    assert read(workflow=name).plan


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "not YAML"),
        ("- a", "must be a mapping"),
        ("a: 3", "a: must be a mapping"),
        ("a: {stages: 3}", "a: stages must be a list"),
        ("a: {stages: [{type: txt2img}]}", "each with a name"),
        ("a: {stages: [{name: b, type: txt2img, steps: 0}]}", "stages[0].steps"),
    ],
)
def test_an_operators_mistake_names_the_workflow(text: str, says: str) -> None:
    with pytest.raises(WorkflowsInvalid) as caught:
        read_workflows(text)
    assert says in str(caught.value)


def test_a_continuation_needs_to_know_its_pictures() -> None:
    def path(**fields: Any) -> str:
        with pytest.raises(InvalidInput) as caught:
            accept({"type": "continue", **fields})
        return caught.value.problems[0].path

    assert path() == "job"
    assert path(job="a", keys=["b"]) == "job"
    assert path(keys=["b"], keep=[1]) == "keep"
    assert path(job="a", keep=[-1]) == "keep[0]"
    job = accept({"type": "continue", "keys": ["a/0-1.png"], "stages": [MID, FINAL]}).job
    assert isinstance(job, Continue)
    assert [stage.source for stage in job.plan] == ["pictures", "mid"]


def test_a_workflow_inside_a_dry_run_has_its_mistakes_there() -> None:
    with pytest.raises(InvalidInput) as caught:
        accept({"type": "validate", "job": {"type": "workflow", "prompt": "x", "stages": [{**BASE, "width": 3}]}})
    assert [problem.path for problem in caught.value.problems] == ["job.stages[0].width"]


def test_a_character_is_of_its_base_model_in_every_stage() -> None:
    presets = read_presets("luca: {role: character, base_model: SDXL, prompt: {before: luca}}")
    raw = {"type": "workflow", "character": "luca", "prompt": "running", "stages": [BASE, MID]}
    job = accept(raw, presets=presets).job
    assert isinstance(job, Workflow)
    assert [stage.job.base_models for stage in job.plan] == [{"character": "SDXL"}] * 2


@pytest.mark.parametrize(
    "form", [{"model": "a/b", "num_inference_steps": 3, "compat": "diffusers"}, {"compat": "a1111"}]
)
def test_a_workflow_is_taken_in_no_other_form_than_ours(form: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        accept({**form, "type": "workflow", "prompt": "a", "preset": []})
