from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from standin.scripts.catalog import Catalog
from worker.webui.request import scripts, xyz_plot
from worker.webui.request.scripts import MOST_CELLS, arguments, beyond, cells, find
from worker.webui.request.xyz_plot import settled

INFO = Catalog().info(
    {
        "@upscalers": ["None", "Lanczos", "Nearest"],
        "@checkpoints": ["a.safetensors"],
        "@samplers": ["Euler"],
        "@schedulers": ["Karras"],
    }
)


def entry(name: str, *, img2img: bool = False) -> dict[str, Any]:
    found = find(INFO, name, img2img=img2img)
    assert found is not None
    return dict(found)


def settle(name: str, given: Any, *, img2img: bool = False) -> list[Any]:
    values, problems = arguments(entry(name, img2img=img2img), given, "script.args")
    assert not problems
    return values


def problem(name: str, given: Any, *, img2img: bool = False) -> Any:
    values, problems = arguments(entry(name, img2img=img2img), given, "script.args")
    assert len(problems) == 1, (values, problems)
    return problems[0]


KNOWN = {
    "Sampler": ("Euler", "Euler a"),
    "VAE": ("Automatic", "None", "fine.safetensors"),
    "Always discard next-to-last sigma": ("true", "false"),
}


@pytest.mark.parametrize(
    ("kind", "given", "near"),
    [
        ("Sampler", "Euler, Eulr a", "Euler a"),
        ("VAE", "Automatic, fin.safetensors", "fine.safetensors"),
        ("Always discard next-to-last sigma", "yes", None),
        ("Steps", "2, x", None),
        ("Steps", "2.5", None),
        ("CFG Scale", "5, high", None),
        ("Size", "512x512, 64", None),
    ],
)
def test_an_axis_goes_through_what_there_is(kind: str, given: str, near: str | None) -> None:
    sent = {"X type": kind, "X values": given}
    values, problems = arguments(entry("x/y/z plot"), sent, "script.args", KNOWN)
    assert [(one.path, one.suggestion) for one in problems] == [("script.args.X values", near)], values


@pytest.mark.parametrize(
    ("kind", "given", "text"),
    [
        ("Sampler", "EULER, euler A", "Euler,Euler a"),
        ("VAE", ["none", "Fine.safetensors"], "None,fine.safetensors"),
        ("Steps", "2, 5-9, 1-10(+3), 1-10[4]", "2, 5-9, 1-10(+3), 1-10[4]"),
        ("CFG Scale", "1.5, .5, 0-1(+0.25), 2-4[3]", "1.5, .5, 0-1(+0.25), 2-4[3]"),
        ("Size", "512x768, 64 x 64", "512x768, 64 x 64"),
        ("Prompt S/R", "a cat, anything", "a cat, anything"),
    ],
)
def test_an_axis_is_spelt_as_the_webui_spells_it(kind: str, given: Any, text: str) -> None:
    values, problems = arguments(entry("x/y/z plot"), {"X type": kind, "X values": given}, "script.args", KNOWN)
    assert (values[1], problems) == (text, [])


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        ("Steps", "1, 99999", "within 1 and 150"),
        ("Steps", "1-4000[3]", "within 1 and 150"),
        ("Denoising", "0-7(+2)", "within 0 and 1"),
        ("Size", "512x99999", "within 64 and 2048"),
        ("Size", "100x104", "multiples of 8"),
        ("Prompt S/R", "cat, <lora:nobody:1>", "names a LoRA that is not there"),
    ],
)
def test_an_axis_keeps_to_the_limits_of_the_field_that_it_stands_for(kind: str, given: str, words: str) -> None:
    text, problems = settled(kind, given, {}, "script.args.X values")
    assert text == given
    assert words in problems[0].message


def test_scripts_that_make_pictures_of_texts_make_no_more_than_a_plot() -> None:
    matrix = partial(beyond, "prompt matrix", path="script.args", loras=["there"], negative="", each=1)
    assert matrix(args=[False, "positive"], prompt="a|b|c") == []
    assert "at most 100" in matrix(args=[False, "positive"], prompt="|" * 20)[0].message
    assert matrix(args=[False, "negative"], prompt="|" * 20) == []
    lines = partial(
        beyond, "prompts from file or textbox", each=1, path="script.args", loras=["there"], prompt="", negative=""
    )
    assert lines(args=[False, False, "start", "a <lora:there:1>\n\nb"]) == []
    assert "at most 100" in lines(args=[False, False, "start", "a cat\n" * 3000])[0].message
    assert "not there" in lines(args=[False, False, "start", "a <lora:nobody:1>"])[0].message


def test_every_axis_that_is_checked_is_one_that_the_script_has() -> None:
    there = {
        choice
        for tab in (False, True)
        for row in entry("x/y/z plot", img2img=tab)["args"]
        if str(row.get("label", "")).endswith(" type")
        for choice in row["choices"]
    }
    assert {"Sampler", "Size"} <= there
    assert set(xyz_plot.CHECKED) <= there


def test_every_offered_script_is_one_that_the_webui_has() -> None:
    for name in scripts.OFFERED:
        assert any(find(INFO, name, img2img=tab) for tab in (False, True)), name


def test_without_arguments_the_scripts_own_defaults_are_sent_whole() -> None:
    assert settle("Prompt Matrix", None) == [False, False, "positive", "comma", 0]


def test_arguments_are_named_by_label_in_any_spelling() -> None:
    given = {"grid margins (px)": 4, "Select joining char": "Space", "put_variable_parts_at_start_of_prompt": True}
    assert settle("prompt matrix", given) == [True, False, "positive", "space", 4]


def test_headings_are_sent_as_null() -> None:
    assert settle("sd upscale", {"Upscaler": "Lanczos"}, img2img=True) == [None, 64, "Lanczos", 2.0]


def test_a_choice_of_several_takes_one_or_a_list() -> None:
    values = settle("outpainting mk2", {"Outpainting direction": "Left"}, img2img=True)
    assert values[3] == ["left"]
    assert settle("outpainting mk2", {"Outpainting direction": ["left", "up"]}, img2img=True)[3] == ["left", "up"]


@pytest.mark.parametrize(
    ("name", "given", "path", "suggestion"),
    [
        ("prompt matrix", {"Grid margin": 4}, "script.args.Grid margin", "Grid margins (px)"),
        ("prompt matrix", {"Select prompt": "positiv"}, "script.args.Select prompt", "positive"),
        ("prompt matrix", {"Grid margins (px)": 501}, "script.args.Grid margins (px)", None),
        ("prompt matrix", {"Grid margins (px)": "4"}, "script.args.Grid margins (px)", None),
        ("prompt matrix", [False], "script.args", None),
        ("prompt matrix", [False, False, "both", "comma", 0], "script.args[2]", None),
        ("x/y/z plot", {"X type": "Stepz", "X values": "1"}, "script.args.X type", "Steps"),
        ("x/y/z plot", {"X type": "Steps"}, "script.args.X values", None),
        ("x/y/z plot", {"X type": "Steps", "X values": "1-101"}, "script.args.X values", None),
    ],
)
def test_wrong_arguments_are_named(name: str, given: Any, path: str, suggestion: str | None) -> None:
    found = problem(name, given)
    assert (found.path, found.suggestion) == (path, suggestion)


def test_axes_are_named_and_sent_by_index() -> None:
    values = settle("x/y/z plot", {"X type": "Steps", "X values": "2,3", "Y type": "CFG Scale", "Y values": [5, 7]})
    assert values[:9] == [4, "2,3", [], 6, "5,7", [], 0, "", []]
    assert cells(values) == 4


def test_values_with_commas_are_quoted() -> None:
    values = settle("x/y/z plot", {"X type": "Prompt S/R", "X values": ["a, b", "c"]})
    assert values[1] == '"a, b",c'


def test_a_whole_list_is_taken_as_the_webuis_own_clients_send_it() -> None:
    sent = [4, "2,3", [], 0, "", [], 0, "", [], True, False, False, False, False, False, False, 0, False]
    assert settle("x/y/z plot", sent)[:3] == [4, "2,3", []]


@pytest.mark.parametrize(("text", "count"), [("1,2,3", 3), ("2-4", 3), ("1-10(+3)", 4), ("1-10[5]", 5), ("a", 1)])
def test_cells_are_counted_as_the_script_makes_them(text: str, count: int) -> None:
    assert cells([4, text, [], 0, "", [], 0, "", []]) == count
    assert count < MOST_CELLS
