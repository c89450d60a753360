"""Plots as lists of plain jobs, and old scripts as jobs of ours."""

from __future__ import annotations

from typing import Any

import pytest

from worker.contract.base.limits import Limits
from worker.contract.parse.job_parser import cells_of, parse_job
from worker.contract.types.composed.workflow import Workflow
from worker.contract.types.job import Generation
from worker.contract.types.kinds import Img2Img, Inpaint, Upscale
from worker.errors import InvalidInput

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB" * 2


def job(**fields: Any) -> Generation:
    parsed = parse_job({"prompt": "a red cat", **fields})
    assert isinstance(parsed, Generation)
    return parsed


def cells(**fields: Any) -> list[Generation]:
    return [cell.job for cell in cells_of(job(**fields), Limits())]


def mistakes(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        parse_job({"prompt": "a red cat", **fields})
    return [(problem.path, problem.message) for problem in caught.value.problems]


def axis(field: str, *values: Any) -> dict[str, Any]:
    return {"field": field, "values": list(values)}


def test_x_changes_first_but_for_models() -> None:
    made = cells(plot={"x": axis("steps", 1, 2), "y": axis("seed", 5, 6)})
    assert [(cell.steps, cell.seed) for cell in made] == [(1, 5), (2, 5), (1, 6), (2, 6)]
    made = cells(plot={"x": axis("checkpoint", "a", "b"), "y": axis("vae", "v", "w"), "z": axis("steps", 1, 2)})
    named = [(cell.checkpoint and cell.checkpoint.ref, cell.vae and cell.vae.ref, cell.steps) for cell in made]
    assert named[:4] == [("a", "v", 1), ("a", "v", 2), ("a", "w", 1), ("a", "w", 2)]
    assert [name for name, _, _ in named] == ["a"] * 4 + ["b"] * 4


@pytest.mark.parametrize(
    ("fields", "path", "value", "read"),
    [
        ({"loras": ["x", "y"]}, "loras[1].scale", 0.5, lambda made: made.loras[1].scale),
        ({"hires": {"scale": 2, "denoising_strength": 0.5}}, "hires.scale", 1.5, lambda made: made.hr_scale),
        ({"refiner": {"checkpoint": "r", "switch_at": 0.5}}, "refiner.switch_at", 0.7, lambda m: m.refiner_switch_at),
        ({}, "override_settings.randn_source", "CPU", lambda made: made.override_settings["randn_source"]),
        ({}, "styles", ["Film"], lambda made: made.styles),
    ],
)
def test_any_field_of_the_contract_is_an_axis(fields: dict[str, Any], path: str, value: Any, read: Any) -> None:
    (made,) = cells(**fields, plot={"x": axis(path, value)})
    assert read(made) == value


def test_a_mistake_of_a_cell_is_told_at_its_value_and_each_once() -> None:
    found = mistakes(plot={"x": axis("steps", 10, 900), "y": axis("seed", 1, 2)})
    assert [path for path, _ in found] == ["plot.x.values[1]"]
    found = mistakes(loras=["x"], plot={"x": axis("loras[2].scale", 0.5)})
    assert found == [("plot.x.field", "'loras[2].scale' has no entry [2]; the job has 1")]
    found = mistakes(steps=3, plot={"x": axis("stpes", 1)})
    assert found == [("plot.x.field", "'stpes' is not a field")]


@pytest.mark.parametrize(
    "field",
    [
        *("live_previews", "on_mismatch", "output.format", "plot", "preset", "prompts", "recommended", "seeds"),
        *("stream", "timeout_s", "type"),
    ],
)
def test_what_is_about_the_whole_job_is_no_axis(field: str) -> None:
    assert ("plot.x.field", f"can't be {field}, which is about the whole job") in mistakes(plot={"x": axis(field, 1)})


def test_what_a_plot_makes_counts_with_its_batches() -> None:
    assert mistakes(batch_size=2, plot={"x": axis("seed", *range(9))}) == [
        ("plot", "the job must be at most 16 pictures, not 18 (this endpoint)")
    ]
    assert mistakes(plot={"x": axis("batch_size", 8, 9)})[0][0] == "plot"


@pytest.mark.parametrize("field", ["stream", "output.format", "prompts", "plot.x.values", "preset", "type"])
def test_a_field_of_the_whole_job_is_no_axis(field: str) -> None:
    assert mistakes(plot={"x": axis(field, 1)})[0][0] == "plot.x.field"


@pytest.mark.parametrize(
    "plot",
    [
        {"legend": True},
        {"x": {"values": [1]}},
        {"x": {"field": "steps", "search": "red", "values": ["1"]}},
        {"x": axis("steps", 1, 1)},
        {"x": {"search": "red", "values": [1]}},
        {"x": axis("steps", 1), "y": axis("steps", 2)},
        {"x": {"search": "green", "values": ["blue"]}},
    ],
)
def test_an_axis_that_means_nothing_is_a_mistake(plot: dict[str, Any]) -> None:
    assert mistakes(plot=plot)[0][0].startswith("plot")


def test_a_field_without_effect_is_a_warning() -> None:
    assert any("hr_upscaler" in each for each in job(plot={"x": axis("hr_upscaler", "Lanczos")}).warnings)


# Scripts by their old names


def test_the_usual_axes_become_a_plot() -> None:
    args = {"X type": "Steps", "X values": "1-10(+3), 20", "Y type": "Prompt S/R", "Y values": 'red, "a, b"'}
    plot = job(script={"name": "x/y/z plot", "args": args}).plot
    assert plot is not None
    assert plot.x is not None
    assert plot.y is not None
    assert (plot.x.field, plot.x.values) == ("steps", [1, 4, 7, 10, 20])
    assert (plot.y.search, plot.y.values) == ("red", ["red", "a, b"])


@pytest.mark.parametrize(
    ("number", "start", "axis"),
    [(4, {}, "Steps"), (5, {}, "Hires steps"), (6, {}, "CFG Scale"), (41, {}, "Size"), (4.0, {}, "Steps")],
)
def test_an_axis_is_known_by_its_number(number: float, start: dict[str, Any], axis: str) -> None:
    args = [number, "2,3", [], 0, "", [], 0, "", [], True, False, False, False, False, False, False, 0]
    if axis == "Size":
        with pytest.raises(InvalidInput, match="width"):
            job(script_name="x/y/z plot", script_args=args, **start)
        return
    found = job(script_name="x/y/z plot", script_args=args, **start)
    assert found.plot is not None
    assert found.plot.x is not None
    assert found.plot.x.values == [2, 3]
    assert any(f"is the axis {axis!r}" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1-3", [1, 2, 3]),
        ("5-3", [5, 4, 3]),
        ("10-2 (-4)", [10, 6, 2]),
        ("2-10 (+4)", [2, 6, 10]),
        ("2-6 [3]", [2, 4, 6]),
        ("6-2 [3]", [6, 4, 2]),
        ("4-9 [1]", [4]),
    ],
)
def test_a_range_is_every_value_on_its_way_up_or_down(text: str, values: list[int]) -> None:
    plot = job(script={"name": "x/y/z plot", "args": {"X type": "Steps", "X values": text}}).plot
    assert plot is not None
    assert plot.x is not None
    assert plot.x.values == values


def test_names_and_texts_on_an_axis_are_no_ranges() -> None:
    args = {"X type": "Prompt S/R", "X values": "red, 1-3", "Y type": "Checkpoint name", "Y values": "2-4, 7"}
    plot = job(script={"name": "x/y/z plot", "args": args}).plot
    assert plot is not None
    assert plot.x is not None
    assert plot.y is not None
    assert (plot.x.values, plot.y.values) == (["red", "1-3"], ["2-4", "7"])


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ({"X type": "Stepz", "X values": "1"}, "script.args.X type"),
        ({"X type": 42, "X values": "1"}, "script.args.X type"),
        ({"X type": -1, "X values": "1"}, "script.args.X type"),
        ({"X type": 4.5, "X values": "1"}, "script.args.X type"),
        ({"X type": True, "X values": "1"}, "script.args.X type"),
        ({"X type": "Steps"}, "script.args.X values"),
        ({"X type": "Steps", "X values": "1-9[0]"}, "script.args.X values"),
        ({"X type": "Steps", "X values": "1, 900"}, "script.args.X values[1]"),
        ({"X type": "Size", "X values": "64x64"}, "script.args.X type"),
        ({"X tipe": "Steps"}, "script.args.X tipe"),
        ({}, "script.args"),
    ],
)
def test_axes_that_are_not_clear_are_refused(args: dict[str, Any], path: str) -> None:
    assert [found for found, _ in mistakes(script={"name": "x/y/z plot", "args": args})] == [path]


def test_a_prompt_matrix_is_a_plot_of_one_seed_or_prompts_of_their_own() -> None:
    plot = job(prompt="a|b|c", script={"name": "prompt matrix"}).plot
    assert plot is not None
    assert plot.x is not None
    assert plot.x.values == ["a", "a, b", "a, c", "a, b, c"]
    different = job(prompt="a|b", seed=5, script={"name": "prompt matrix", "args": [True, True, "positive", "space"]})
    assert [(part.prompt, part.seed) for part in different.prompts or ()] == [("a", 5), ("b a", 6)]


def test_prompts_from_lines_are_prompts() -> None:
    args = {"List of prompt inputs": "one\n\ntwo", "Insert prompts at the": "end", "Iterate seed every line": True}
    made = job(seed=5, n_iter=2, script={"name": "Prompts from file or textbox", "args": args})
    assert [(part.prompt, part.seed) for part in made.prompts or ()] == [("a red cat one", 5), ("a red cat two", 7)]


def test_prompts_from_lines_take_no_options() -> None:
    lines = "--prompt x --outpath_samples /tmp"
    name = "prompts from file or textbox"
    assert mistakes(script={"name": name, "args": {"List of prompt inputs": lines}})[0][0] == "script.args"
    assert mistakes(script_name=name, script_args=[False, False, "end", lines])[0][0] == "script_args"


def test_sd_upscale_is_an_upscale_with_tiles() -> None:
    fields = {"init_images": [PICTURE], "width": 768, "height": 768, "denoising_strength": 0.3}
    made = parse_job({"prompt": "a", **fields, "script_name": "SD upscale", "script_args": [None, 64, "Lanczos", 3]})
    assert isinstance(made, Upscale)
    assert made.tiles is not None
    assert (made.upscaler_1, made.upscaling_resize, made.prompt) == ("Lanczos", 3.0, "a")
    assert (made.tiles.size, made.tiles.overlap, made.tiles.denoising_strength) == (768, 64, 0.3)


@pytest.mark.parametrize(
    ("name", "job_of_ours"),
    [
        ("outpainting mk2", "outpaint"),
        ("poor man's outpainting", "outpaint"),
        ("img2img alternative test", "img2img"),
        ("x/y/z plat", "x/y/z plot"),
    ],
)
def test_a_script_that_is_not_run_names_the_job_that_does_it(name: str, job_of_ours: str) -> None:
    ((path, message),) = mistakes(init_images=[PICTURE], script={"name": name})
    assert path.startswith("script")
    assert job_of_ours in message


def loops(*args: Any, **fields: Any) -> Workflow:
    made = parse_job(
        {"prompt": "a", "init_images": [PICTURE], **fields, "script_name": "Loopback", "script_args": list(args)}
    )
    assert isinstance(made, Workflow)
    return made


@pytest.mark.parametrize(
    ("curve", "strengths"),
    [("Linear", [0.8, 0.5, 0.2]), ("aggressive", [0.8, 0.3757, 0.2]), ("Lazy", [0.8, 0.6243, 0.2])],
)
def test_loopback_is_a_workflow_whose_strength_follows_the_curve(curve: str, strengths: list[float]) -> None:
    made = loops(3, 0.2, curve, "None", denoising_strength=0.8, seed=5)
    jobs = [stage.job for stage in made.plan]
    assert [round(job.denoising_strength or 0, 4) for job in jobs if isinstance(job, Img2Img)] == strengths
    assert [(stage.source, stage.seed_offset) for stage in made.plan] == [(None, 0), ("loop-1", 1), ("loop-2", 2)]
    assert made.output.intermediates == ["loop-1", "loop-2"]


def test_batches_of_loopback_begin_anew_with_the_next_seed_and_show_their_last_pictures() -> None:
    made = loops(4, seed=7, n_iter=2, batch_size=2, mask=PICTURE, override_settings={"img2img_color_correction": True})
    first, second, *_ = (stage.job for stage in made.plan)
    assert isinstance(first, Inpaint)
    assert isinstance(second, Inpaint)
    assert (first.seeds, first.inpainting_fill, second.inpainting_fill) == ([7, 11], None, 1)
    assert made.output.intermediates is None
    assert [warning.split()[0] for warning in made.warnings] == ["batch_size", "img2img_color_correction"]


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"script_args": [0, 2, "steep", "CLIP"]}, ["script_args"] * 4),
        ({"script_args": [17]}, ["script_args"]),
        ({"n_iter": 17}, ["n_iter"]),
        ({"init_images": [PICTURE, PICTURE]}, ["init_images"]),
        ({"init_images": None}, ["init_images"]),
        ({"seeds": [1, 2], "steps": "x"}, ["steps", "seeds"]),
        ({"plot": {"x": {"field": "steps", "values": [1, 2]}}}, ["plot"]),
    ],
)
def test_what_can_t_be_looped_is_told_by_its_field(fields: dict[str, Any], paths: list[str]) -> None:
    job = {"init_images": [PICTURE], "script_name": "Loopback", **fields}
    assert sorted(path for path, _ in mistakes(**job)) == sorted(paths)
