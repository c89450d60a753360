from __future__ import annotations

import re
from pathlib import Path

import pytest

from standin.faults.switches import CATALOG, parse
from standin.generation import infotext, prompts, samplers
from standin.generation.drawing import Look, draw
from standin.generation.img2img import expand, resize_image
from standin.generation.txt2img import second_pass
from standin.settings import read_settings

ROOT = Path(__file__).parents[2]


def test_every_fault_and_variable_is_documented() -> None:
    page = (ROOT / "docs/stand-in.md").read_text(encoding="utf-8")
    assert [name for name in CATALOG if f"`{name}`" not in page] == []
    source = (ROOT / "standin/settings.py").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"STANDIN_[A-Z_]+", source) if f"`{name}`" not in page] == []


def test_faults_are_read_from_words_and_from_json() -> None:
    assert [(fault.name, fault.count) for fault in parse("oom:count=2:pixels=9, nan")] == [("oom", 2), ("nan", 1)]
    assert parse('[{"fault": "die", "step": 3}]')[0].number("step", 1) == 3
    for wrong in ("nope", "oom:count", '{"fault": 5}'):
        with pytest.raises(ValueError, match=r"fault"):
            parse(wrong)


def test_a_knob_that_is_no_number_is_named() -> None:
    with pytest.raises(ValueError, match="STANDIN_STEP_SECONDS must be a number, not 'fast'"):
        read_settings({"STANDIN_STEP_SECONDS": "fast"})


@pytest.mark.parametrize(
    ("size", "resize", "target"),
    [
        ((64, 64), (0, 0), (96, 96)),
        ((64, 64), (96, 128), (96, 128)),
        ((64, 64), (96, 0), (96, 96)),
        ((128, 64), (0, 128), (256, 128)),
    ],
)
def test_hires_fix_reaches_its_size(size: tuple[int, int], resize: tuple[int, int], target: tuple[int, int]) -> None:
    assert second_pass(*size, 1.5, *resize).size == target


def test_infotext_survives_a_round_trip() -> None:
    facts = {"Steps": 2, "Sampler": "DPM++ 2M", "Seed": 42, "Size": "64x96", "Note": 'a, "b": c'}
    text = infotext.compose("a cat\nwith a hat", "bad, worse", facts)
    found = infotext.parse(text)
    assert (found["Prompt"], found["Negative prompt"]) == ("a cat\nwith a hat", "bad, worse")
    assert (found["Size-1"], found["Size-2"], found["Note"]) == ("64", "96", 'a, "b": c')


@pytest.mark.parametrize(
    ("sampler", "scheduler", "asked", "used"),
    [
        ("DPM++ 2M Karras", None, ("DPM++ 2M", None), ("DPM++ 2M", "Automatic")),
        ("Euler Karras", None, ("Euler", "Karras"), ("Euler", "Karras")),
        ("k_euler", "nope", ("DPM++ 2M", "nope"), ("DPM++ 2M", "Automatic")),
        ("Euler SGMUniform", None, ("Euler", "SGM Uniform"), ("Euler", "SGM Uniform")),
    ],
)
def test_sampler_names_are_taken_apart_in_two_steps(
    sampler: str, scheduler: str | None, asked: tuple[str, str | None], used: tuple[str, str]
) -> None:
    assert samplers.requested(sampler, scheduler) == asked
    found, label = samplers.resolve(*asked)
    assert (found.name, label.label) == used


def test_only_masked_grows_the_box_to_the_ratio_of_the_picture() -> None:
    left, top, right, bottom = expand((10, 10, 20, 40), 2.0, (100, 60))
    assert (right - left) / (bottom - top) == pytest.approx(2.0)
    assert left >= 0
    assert bottom <= 60


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
def test_every_resize_mode_gives_the_size(mode: int) -> None:
    picture = draw(Look("a", "", 1, 96, 64, "m", 1, "Euler", "Automatic", 7.0, 1, ""))
    assert resize_image(mode, picture, 64, 128).size == (64, 128)


def test_grain_makes_the_file_large_and_stays_repeatable() -> None:
    look = Look("a", "", 1, 64, 64, "m", 1, "Euler", "Automatic", 7.0, 1, "")
    assert draw(look, 0.1).tobytes() == draw(look, 0.1).tobytes() != draw(look).tobytes()


@pytest.mark.parametrize(
    ("prompt", "spelled"),
    [
        ("a ((house)), x", "a (house:1.210), x"),
        ("a (house:1.21), x", "a (house:1.210), x"),
        ("a [house]", "a (house:0.909)"),
        ("(a (b:2) c:0.5)", "(a :0.500)b( c:0.500)"),
        (r"a \(house\)", r"a \(house\)"),
        ("a: house", "a: house"),
    ],
)
def test_weights_count_and_not_how_they_are_spelled(prompt: str, spelled: str) -> None:
    assert prompts.spelled_out(prompt) == spelled
