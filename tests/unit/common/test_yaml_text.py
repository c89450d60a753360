"""YAML that operators and clients write."""

from __future__ import annotations

import re

import pytest
import yaml

from worker.common.yaml_text import load_yaml


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1"),
        ("- {x: {y: 1, y: 2}}", "line 1, column 14"),
        ("presets:\n  portrait: {steps: 20}\n  landscape: {steps: 20}\n  portrait: {steps: 30}\n", "line 4, column 3"),
    ],
)
def test_a_name_that_is_given_twice_is_an_error_with_its_place(text: str, place: str) -> None:
    with pytest.raises(yaml.YAMLError, match="is given twice") as caught:
        load_yaml(text)
    assert place in str(caught.value)


def test_mappings_that_are_merged_may_be_overridden() -> None:
    text = "base: &base {steps: 20, width: 64}\nother: {<<: *base, steps: 30}\nmore: {<<: [*base, *base], steps: 1}"
    assert load_yaml(text)["other"] == {"steps": 30, "width": 64}
    assert load_yaml(text)["more"]["steps"] == 1


@pytest.mark.parametrize("text", ["", "a: [1, 2.5, true, null]", "- 1\n- a"])
def test_everything_else_is_read_as_ever(text: str) -> None:
    assert load_yaml(text) == yaml.safe_load(text)


def test_no_python_object_is_made() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("!!python/object/apply:os.getcwd []")


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{chr(98 + level)}: &{chr(98 + level)} [{', '.join(['*' + chr(97 + level)] * 9)}]\n" for level in range(12)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "aliases repeat more than"),
        ("a: &a [*a]", "contains itself"),
        ("[" * 5000, "nested too deeply"),
        ("seed: 2026-13-45", "a value can't be read: month must be"),
        ("seed: !!int seven", "a value can't be read"),
        ("a: \x00", "position 3"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("a: 1\n? [1]\n: 2", "line 2, column 3: found unhashable key"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(text: str, said: str) -> None:
    with pytest.raises(yaml.YAMLError, match=re.escape(said)) as caught:
        load_yaml(text)
    assert "\n" not in str(caught.value)


def test_parts_may_be_used_many_times() -> None:
    text = "shared: &shared [1, 2]\nuses: [" + ", ".join(["*shared"] * 1000) + "]"
    assert len(load_yaml(text)["uses"]) == 1000
