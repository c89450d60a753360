from __future__ import annotations

import pytest

from worker.contract.operator.prompt_policy import PolicyInvalid, enforce, judge, read_policy
from worker.errors import InvalidInput

RULES = read_policy(
    """
- name: people
  terms: [John Doe]
- name: brands
  action: flag
  patterns: ['\\bacme\\w*']
"""
)


@pytest.mark.parametrize(
    "prompt",
    [
        "john doe",
        "a picture of JOHN   DOE, smiling",
        "(john:1.2) doe",
        "jo\u200bhn doe",
        "jo<lora:add_detail:0>hn doe",
        "john <lora:x:1><lora:y:1> doe",
        "jöhn dóe",
        "\uff4a\uff4f\uff48\uff4e \uff44\uff4f\uff45",
    ],
)
def test_a_refused_term_is_found_however_it_is_written(prompt: str) -> None:
    found = judge([("prompt", prompt)], RULES)
    assert [one.rule for one in found] == ["people"]
    with pytest.raises(InvalidInput) as caught:
        enforce(found)
    assert caught.value.problems[0].path == "prompt"
    assert "john" not in str(caught.value).lower()


@pytest.mark.parametrize("prompt", ["john doering", "a cat", "", "johndoe"])
def test_what_is_no_whole_word_is_fine(prompt: str) -> None:
    assert judge([("prompt", prompt)], RULES) == []


@pytest.mark.parametrize("pattern", ["Jane Doe", "JANE\\s+DOE", "jane doe", "J[A-Z]NE DOE"])
@pytest.mark.parametrize("prompt", ["Jane Doe in a hat", "jane doe", "JANE DOE"])
def test_an_operators_pattern_holds_in_any_case(pattern: str, prompt: str) -> None:
    rules = read_policy(f"- name: person\n  patterns: ['{pattern}']")
    assert [one.rule for one in judge([("prompt", prompt)], rules)] == ["person"]


@pytest.mark.parametrize(
    "text", ["- {name: a, terms: john}", "- {name: a, patterns: john}", "- {name: a, terms: {j: 1}}"]
)
def test_terms_and_patterns_have_to_be_lists(text: str) -> None:
    with pytest.raises(PolicyInvalid, match="needs a list"):
        read_policy(text)


def test_what_is_flagged_is_a_warning() -> None:
    assert enforce(judge([("prompts[1].prompt", "an Acmeish car")], RULES)) == [
        "prompts[1].prompt: flagged by this endpoint's rule 'brands'"
    ]


def test_without_rules_everything_is_fine() -> None:
    assert judge([("prompt", "john doe")], ()) == []
    assert read_policy("") == ()


@pytest.mark.parametrize(
    "text",
    [
        "a: 5",
        "- {terms: [a]}",
        "- {name: a}",
        "- {name: a, action: kill, terms: [b]}",
        "- {name: a, patterns: ['(']}",
        "[",
    ],
)
def test_a_bad_file_says_what_is_wrong(text: str) -> None:
    with pytest.raises(PolicyInvalid):
        read_policy(text)
