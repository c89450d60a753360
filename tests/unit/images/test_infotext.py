from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.images.infotext import Infotext, format_infotext, parse

PLAIN = (
    "a cat\nSteps: 2, Sampler: Euler, Schedule type: Automatic, CFG scale: 7.0, Seed: 100, Size: 64x64, "
    "Model: Deliberate_v6, Version: v1.10.1"
)
LORA = (
    "a cat, (red:1.2),\nsecond line <lora:x:0.8>\nNegative prompt: dog,\nugly\n"
    'Steps: 20, Sampler: DPM++ 2M, Size: 512x512, Lora hashes: "one: 0123, two: 4567", Version: v1.10.1'
)
NESTED = (
    'a cat\nSteps: 4, Size: 512x512, ControlNet 0: "Module: canny, Model: a [c1f2], Note: say \\"hi\\"", '
    'Tiled Diffusion: {"Method": "MultiDiffusion", "Tile": [1, 2]}, Version: v1.10.1'
)
ONLY_NEGATIVE = "Negative prompt: dog\nSteps: 1, Size: 64x64, Seed: 1"


@pytest.mark.parametrize(
    "text", [PLAIN, LORA, NESTED, ONLY_NEGATIVE, "a cat, \nSteps: 4, Seed: 1", "Steps: 4, Seed: 1"]
)
def test_what_is_read_is_written_again_letter_by_letter(text: str) -> None:
    assert format_infotext(parse(text)) == text


def test_prompt_negative_prompt_and_fields_are_told_apart() -> None:
    found = parse(LORA)
    assert found.prompt == "a cat, (red:1.2),\nsecond line <lora:x:0.8>"
    assert found.negative_prompt == "dog,\nugly"
    assert found.fields["Steps"] == "20"
    assert found.fields["Lora hashes"] == "one: 0123, two: 4567"
    assert list(found.fields) == ["Steps", "Sampler", "Size", "Lora hashes", "Version"]


def test_quoted_and_nested_values_are_read_whole() -> None:
    fields = parse(NESTED).fields
    assert fields["ControlNet 0"] == 'Module: canny, Model: a [c1f2], Note: say "hi"'
    assert fields["Tiled Diffusion"] == '{"Method": "MultiDiffusion", "Tile": [1, 2]}'
    assert fields["Version"] == "v1.10.1"


def test_no_negative_prompt_is_an_empty_one() -> None:
    assert parse(PLAIN).negative_prompt == ""


def test_a_text_without_fields_is_all_prompt() -> None:
    assert parse("a cat\nin a hat") == Infotext("a cat\nin a hat")
    assert parse("style: pencil, light: soft") == Infotext("style: pencil, light: soft")
    assert parse("") == Infotext("")


def test_stray_text_between_fields_does_not_hide_them() -> None:
    fields = parse("a cat\nSteps: 20, what is this, Sampler: Euler").fields
    assert fields == {"Steps": "20", "Sampler": "Euler"}


def test_a_quote_that_never_closes_ends_at_the_comma() -> None:
    assert parse('a\nSteps: 1, Note: "open, Seed: 5').fields == {"Steps": "1", "Note": '"open', "Seed": "5"}


@given(st.text())
def test_no_text_is_too_strange_to_read(text: str) -> None:
    parse(text)
    parse(f"a\nSteps: 1, {text}")


@pytest.mark.parametrize(
    "piece", [" ", ", ", "a ", '{"a":', '{"a":[0,', "[", '"', '"\\", ', "a: {, ", "\t ", "a-", "a: \\"]
)
def test_no_text_takes_long_to_read(piece: str) -> None:
    """What is read in steps that grow with the text itself would take an hour for the megabyte of it."""
    began = time.process_time()
    parse(f"a cat\nSteps: 1, a{piece * (1_000_000 // len(piece))}!")
    assert time.process_time() - began < 2


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1).map(str.strip).filter(bool)
LINES = (
    st.lists(WORDS, min_size=1, max_size=3).map("\n".join).filter(lambda text: not text.startswith("Negative prompt:"))
)
KEYS = st.from_regex(r"[A-Z][a-z]{1,8}( [a-z0-9]{1,5})?", fullmatch=True).filter(lambda key: key != "Steps")


@given(LINES.filter(lambda text: "\nNegative prompt:" not in text), st.dictionaries(KEYS, st.one_of(WORDS, LINES)))
def test_any_fields_survive_the_way_there_and_back(prompt: str, fields: dict[str, str]) -> None:
    written = Infotext(prompt, "", {"Steps": "1", **fields})
    assert parse(format_infotext(written)) == written
