from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from tests.support.pace import stretched
from worker.contract.base.limits import Limits
from worker.contract.operator.prompt_policy import PolicyInvalid, enforce, judge, read_policy
from worker.contract.operator.prompt_schedule import Steps
from worker.contract.parse.job_parser import cells_of, parse_job
from worker.contract.types.job import Generation
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
        "jo\x01hn doe",
        "jo&#104;n doe",
        "&amp;#106;ohn&nbsp;doe",
        "(john)(doe)",
        "[john](doe:1.2)",
        "john{}doe",
        "john # a comment\n doe",
        "john\u202edoe",
        "john\U000e0020doe",
        "john_doe",
        "john doe2, masterpiece",
        "_john doe_",
        "3john doe",
        "john-doe",
        "a face[SEP]john doe[SEP]a hat",
        "a hat|john doe|x",
        'jo"h"n doe',
        "\uff4a\uff4f\uff48\uff4e \uff44\uff4f\uff45",
        "john<lora:add_detail:1> BREAK doe",
        "john<lora:add_detail:1>|doe",
        'jo<lora:add_detail:1>"hn BREAK d"oe',
        "jo<lora:x:1>hn # a comment\n<lora:y:1>doe",
    ],
)
def test_a_refused_term_is_found_however_it_is_written(prompt: str) -> None:
    found = judge([("prompt", prompt)], RULES)
    assert [one.rule for one in found] == ["people"]
    with pytest.raises(InvalidInput) as caught:
        enforce(found)
    assert caught.value.problems[0].path == "prompt"
    assert "john" not in str(caught.value).lower()


@pytest.mark.parametrize(
    "prompt",
    [
        "[john:jane:0.5] doe",
        "[jane:john:0.5] doe",
        "john [x::0] doe",
        "[:john:49] doe",
        "[john|jane|jim] doe",
        "[a|b|c|d|e|f|john] doe",
        "jo[hn:x:3] doe",
        "[john:x:0.9] [y:doe:0.1]",
        "[[john:x:.9]|y] doe",
        "([john:x:.9]:1.2) doe",
        "john [a|<lora:add_detail:1>]doe",
        "[jane:jo<lora:x:1>hn:0.5] doe",
        "[jane:john # a comment\n:0.5] doe",
    ],
)
def test_a_term_that_stands_there_at_one_step_alone_is_found(prompt: str) -> None:
    assert [one.rule for one in judge([("prompt", prompt)], RULES)] == ["people"]


@pytest.mark.parametrize("prompt", ["[john:x:0.1] [y:doe:0.9]", "[john|x] [y|doe]", "[jane:jim:0.5] doe", "[john] [x]"])
def test_words_that_never_stand_together_are_fine(prompt: str) -> None:
    assert judge([("prompt", prompt)], RULES) == []


def test_a_second_pass_counts_on_from_the_first() -> None:
    only_then = "[jane:john:1.5] [y:doe:1.2]"
    assert judge([("prompt", only_then)], RULES) == []
    assert judge([("prompt", only_then)], RULES, passes=(Steps(20), Steps(10, before=20, part=1.0)))


@pytest.mark.parametrize("prompt", ["[a|b]" * 3000, "[a|b|c|d|e|f|g]" * 900 + "[a|b]", "[" * 20_000, "[a:b:1" * 3000])
def test_a_prompt_of_nothing_but_changes_is_judged_in_time(prompt: str) -> None:
    began = time.monotonic()
    judge([("prompt", prompt)], RULES, limit_s=0.2)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("prompt", "plot"),
    [
        ("a cat", {"x": {"search": "a cat", "values": ["john doe"]}}),
        ("a XX YY", {"x": {"search": "XX", "values": ["john"]}, "y": {"search": "YY", "values": ["doe"]}}),
        (
            "doe john",
            {"x": {"search": "john", "values": ["john", "a"]}, "y": {"search": "doe", "values": ["john doe"]}},
        ),
        ("a cat", {"x": {"field": "prompt", "values": ["a dog", "john doe"]}}),
    ],
)
def test_what_a_plot_makes_of_a_prompt_is_judged(prompt: str, plot: dict[str, Any]) -> None:
    job = parse_job({"prompt": prompt, "plot": plot})
    assert isinstance(job, Generation)
    texts = [("prompt", cell.job.prompt) for cell in cells_of(job, Limits())]
    assert {one.rule for one in judge(texts, RULES)} == {"people"}


SLOW = read_policy("- name: slow\n  patterns: ['^(a|aa)+$']")


@pytest.mark.parametrize("pattern", ["^(a|aa)+$", "^(a|a)*$"])
def test_a_pattern_that_backtracks_refuses_in_time_and_names_its_rule(pattern: str) -> None:
    rules = read_policy(f"- name: slow\n  patterns: ['{pattern}']")
    began = time.monotonic()
    found = judge([("prompt", "a" * 60 + "b")], rules, limit_s=0.2)
    assert time.monotonic() - began < stretched(5)
    with pytest.raises(InvalidInput, match="takes too long to be judged by this endpoint's rule 'slow'"):
        enforce(found)


def test_the_time_limit_holds_in_any_thread_and_lets_others_run() -> None:
    ticks = 0
    with ThreadPoolExecutor(1) as pool:
        judging = pool.submit(judge, [("prompt", "a" * 60 + "b")], SLOW, limit_s=0.3)
        while not judging.done():
            time.sleep(0.005)  # a turn for the other thread, which is what is counted
            ticks += 1
    assert [one.unjudged for one in judging.result()] == [True]
    assert ticks > 5


def test_all_texts_of_a_job_share_one_limit() -> None:
    began = time.monotonic()
    found = judge([(f"prompts[{index}]", "a" * 60 + "b") for index in range(100)], SLOW, limit_s=0.2)
    assert time.monotonic() - began < stretched(5)
    assert [(one.path, one.unjudged) for one in found] == [("prompts[0]", True)]


@pytest.mark.parametrize(
    ("pattern", "prompt"),
    [
        (r"\bjane\s+doe\b", "Jane  Doe"),
        (r"(?i)jane", "JANE"),
        (r"(?P<first>ja)ne (?P=first)", "jane ja"),
        (r"(?<!super)man\b", "a man"),
        (r"\Ajane\Z", "jane"),
        (r"ja(?#comment)ne", "jane"),
        (r"[^\W\d_]{4}", "jane"),
        (r"(ja)?(?(1)ne|x)", "jane"),
    ],
)
def test_patterns_are_read_as_pythons_own(pattern: str, prompt: str) -> None:
    assert re.search(pattern, prompt, re.IGNORECASE)
    rules = read_policy(yaml.safe_dump([{"name": "own", "patterns": [pattern]}]))
    assert [one.rule for one in judge([("prompt", prompt)], rules)] == ["own"]


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
