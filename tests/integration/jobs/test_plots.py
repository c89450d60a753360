"""Plots through the whole worker, on the stand-in: a list of plain jobs and a sheet of their pictures."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from worker.contract.parse import xyz_axes

if TYPE_CHECKING:
    from tests.integration.conftest import Worker


def size_of(image: str) -> tuple[int, int]:
    with Image.open(io.BytesIO(base64.b64decode(image))) as opened:
        width, height = opened.size
        return width, height


def test_each_cell_is_the_picture_of_the_plain_job(worker: Worker) -> None:
    axes = {"x": {"field": "steps", "values": [2, 3]}, "y": {"field": "cfg_scale", "values": [4, 7]}}
    answer = worker.run(plot=axes)
    cells = [(row["cell"]["x"], row["cell"]["y"]) for row in answer["pictures"]]
    assert cells == [(2, 4), (3, 4), (2, 7), (3, 7)]
    alone = [worker.run(steps=steps, cfg_scale=scale)["images"][0] for steps, scale in cells]
    assert answer["images"] == alone
    assert answer["seeds"] == [42] * 4
    assert [row["index"] for row in answer["pictures"]] == [0, 1, 2, 3]


def test_the_sheet_has_all_cells_and_a_legend_unless_it_is_switched_off(worker: Worker) -> None:
    axes: dict[str, Any] = {"x": {"field": "steps", "values": [2, 3, 4]}, "y": {"field": "seed", "values": [1, 2]}}
    plain = size_of(worker.run(plot={**axes, "legend": False})["grid"])
    assert plain == (3 * 64 + 2 * 8, 2 * 64 + 8)
    width, height = size_of(worker.run(plot=axes)["grid"])
    assert (width > plain[0], height > plain[1]) == (True, True)


def test_a_plot_without_a_seed_has_one_for_all_cells(worker: Worker) -> None:
    answer = worker.run(seed=-1, plot={"x": {"field": "steps", "values": [2, 3]}})
    assert len(set(answer["seeds"])) == 1


def test_a_text_in_the_prompt_is_replaced(worker: Worker) -> None:
    answer = worker.run(prompt="a red cat", plot={"x": {"search": "red", "values": ["red", "blue"]}})
    assert [row["prompt"] for row in answer["pictures"]] == ["a red cat", "a blue cat"]
    assert [part["info"]["all_prompts"] for part in answer["parts"]] == [["a red cat"], ["a blue cat"]]


def test_each_checkpoint_is_loaded_once(worker: Worker) -> None:
    axes = {
        "x": {"field": "checkpoint", "values": ["Deliberate_v6", "Other_v1"]},
        "y": {"field": "steps", "values": [2, 3]},
    }
    answer = worker.run(plot=axes)
    assert [row["checkpoint"] for row in answer["pictures"]] == ["Deliberate_v6"] * 2 + ["Other_v1"] * 2
    assert [row["cell"]["y"] for row in answer["pictures"]] == [2, 3, 2, 3]


def test_the_scale_of_a_lora_is_an_axis(worker: Worker) -> None:
    answer = worker.run(loras=["add_detail"], plot={"x": {"field": "loras[0].scale", "values": [0.4, 0.8]}})
    assert [row["loras"][0]["scale"] for row in answer["pictures"]] == [0.4, 0.8]


def test_a_cell_that_fails_leaves_those_before(worker: Worker) -> None:
    worker.fault("error", after=1, error="ValueError", message="no luck")
    answer = worker.run(plot={"x": {"field": "sampler_name", "values": ["Euler", "DDIM"]}})
    assert len(answer["images"]) == 1
    assert answer["parts"][1]["error"]["error_code"] == "webui_error"
    assert size_of(answer["grid"])[0] > 2 * 64


@pytest.mark.parametrize(
    ("plot", "path"),
    [
        ({"x": {"field": "stepz", "values": [1]}}, "plot.x.field"),
        ({"x": {"field": "steps", "values": [1, 900]}}, "plot.x.values[1]"),
        ({"x": {"field": "sampler_name", "values": ["Euler", "Eulr b"]}}, "plot.x.values[1]"),
        ({"x": {"field": "checkpoint", "values": ["Deliberate_v6", "Deliberat"]}}, "plot.x.values[1]"),
        ({"x": {"field": "seed", "values": list(range(17))}}, "plot"),
        ({"x": {"field": "output.format", "values": ["png"]}}, "plot.x.field"),
    ],
)
def test_the_mistakes_of_a_plot_are_told_before_anything_is_made(
    worker: Worker, plot: dict[str, Any], path: str
) -> None:
    answer = worker.run(plot=plot)
    assert [problem["path"] for problem in answer["details"]["problems"]] == [path]
    assert worker.sent() == []


def test_a_dry_run_shows_a_request_for_each_cell(worker: Worker) -> None:
    job = {"prompt": "a cat", "steps": 2, "width": 64, "plot": {"x": {"field": "steps", "values": [2, 3]}}}
    answer = worker.run_job({"input": {"type": "validate", "job": job}})
    assert [request["body"]["steps"] for request in answer["requests"]] == [2, 3]
    assert answer["cost"]["steps"] == 5


@pytest.mark.parametrize("is_img2img", [False, True])
def test_the_axes_have_the_numbers_that_the_webui_gives_them(worker: Worker, *, is_img2img: bool) -> None:
    scripts = [each for each in worker.host.backend.catalog.script_info if each["is_img2img"] is is_img2img]
    (choices,) = (each["args"][0]["choices"] for each in scripts if each["name"] == "x/y/z plot")
    kind = "img2img" if is_img2img else "txt2img"
    assert choices == [name for name, only in xyz_axes.AXES if only in {None, kind}]


def test_a_plot_asked_for_as_of_the_webui_comes_with_its_sheet_first(worker: Worker) -> None:
    small = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 42}
    args = [4, "2,3", [], 0, "", [], 0, "", [], True, False, False, False, False, False, False, 0]
    payload = {**small, "script_name": "X/Y/Z plot", "script_args": args}
    answer = worker.run_job({"input": {"api": {"method": "POST", "endpoint": "/sdapi/v1/txt2img"}, "payload": payload}})
    info = json.loads(answer["info"])
    assert len(answer["images"]) == 3
    assert size_of(answer["images"][0])[0] > 128
    assert [size_of(image) for image in answer["images"][1:]] == [(64, 64)] * 2
    assert (info["index_of_first_image"], info["all_seeds"], len(info["infotexts"])) == (1, [42] * 3, 3)


def test_old_names_of_scripts_do_the_same(worker: Worker) -> None:
    args = {"X type": "Steps", "X values": "2-3", "Y type": "CFG Scale", "Y values": [4, 7]}
    answer = worker.run(script={"name": "X/Y/Z plot", "args": args})
    assert [row["cell"] for row in answer["pictures"]][:2] == [{"x": 2, "y": 4}, {"x": 3, "y": 4}]
    matrix = worker.run(prompt="a cat|red|blue", seed=-1, script={"name": "prompt matrix"})
    assert [row["prompt"] for row in matrix["pictures"]] == ["a cat", "a cat, red", "a cat, blue", "a cat, red, blue"]
    assert len(set(matrix["seeds"])) == 1
    lines = {"name": "prompts from file or textbox", "args": {"List of prompt inputs": "red\nblue"}}
    told = worker.run(prompt="cat", script=lines)
    assert [part["info"]["all_prompts"][0] for part in told["parts"]] == ["red cat", "blue cat"]
    assert all("script_name" not in body for body in worker.sent())
