"""Prompts with many brackets: counted as the WebUI's parser suffers from them."""

from __future__ import annotations

import pytest

from worker.contract.parse.job_parser import parse_job
from worker.contract.rules.prompt_syntax import MANY, MOST, side_by_side
from worker.errors import InvalidInput


def weighted(count: int) -> str:
    return ", ".join(f"(word {number}:1.{number % 9})" for number in range(count))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a cat", 0),
        ("a (cat), [dog:fox:0.5]", 2),
        ("((((a cat))))", 1),
        ("(a, (b), (c)), (d)", 2),
        (r"a \(cat\), \[dog\] (x)", 1),
        ("a ( b ( c ( d", 1),
        (") ] a (b)", 1),
        (weighted(60), 60),
    ],
)
def test_brackets_side_by_side_are_counted_without_those_within(text: str, count: int) -> None:
    assert side_by_side(text) == count


def test_seconds_of_parsing_are_told_and_minutes_are_refused() -> None:
    assert parse_job({"prompt": weighted(MANY)}).warnings == ()
    (warning,) = parse_job({"prompt": "a cat", "negative_prompt": weighted(MANY + 1)}).warnings
    assert warning.startswith("negative_prompt: ")
    with pytest.raises(InvalidInput) as refused:
        parse_job({"prompts": ["a cat", weighted(MOST + 1)]})
    assert [problem.path for problem in refused.value.problems] == ["prompts[1].prompt"]
