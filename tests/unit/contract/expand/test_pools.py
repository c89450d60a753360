"""Pools of lines and LoRAs: what each picture draws by its seed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from worker.contract.expand.draw import fraction, number_between, shuffled
from worker.contract.expand.pools import matches
from worker.contract.expand.prompts import Piece, draws_loras, expand
from worker.contract.parse.job_parser import parse_job
from worker.contract.types.job import Generation
from worker.errors import InvalidInput

LISTS = {"options": [f"line {number}" for number in range(8)], "nested": ["{one|two} cats", "a __options__"]}
FILES = ["character/luca.safetensors", "character/mia.safetensors", "plain.safetensors", "style/oil.safetensors"]


def pieces(**raw: Any) -> list[Piece]:
    job = parse_job({"prompt": "a cat", "seed": 1, **raw})
    assert isinstance(job, Generation)
    return expand(job, draw=lambda: 7, lists=LISTS, lora_files=FILES)


def lines(prompt: str) -> list[str]:
    return prompt.split(", ")[1:]


def test_twenty_seeds_have_every_count_and_no_line_twice() -> None:
    drawn = [lines(pieces(seed=seed, pool={"from": "options", "count": [0, 5]})[0].job.prompt) for seed in range(20)]
    assert {len(one) for one in drawn} == {0, 1, 2, 3, 4, 5}
    assert all(len(set(one)) == len(one) for one in drawn)
    assert {line for one in drawn for line in one} == set(LISTS["options"])


@pytest.mark.parametrize("first", [0, 7, 123_456, 2**53 - 30])
def test_consecutive_seeds_have_each_count_equally_often(first: int) -> None:
    start = first - first % 4
    counts = Counter(number_between(2, 5, start + number) for number in range(12))
    assert counts == {2: 3, 3: 3, 4: 3, 5: 3}


def test_each_picture_of_a_batch_draws_by_its_own_seed() -> None:
    batch = pieces(seed=10, n_iter=3, pool={"from": "options", "count": 2})
    alone = [pieces(seed=10 + number, pool={"from": "options", "count": 2})[0] for number in range(3)]
    assert [one.job.prompt for one in batch] == [one.job.prompt for one in alone]
    assert [one.job.seed for one in batch] == [10, 11, 12]


def test_a_line_more_in_the_list_leaves_most_draws_as_they_were() -> None:
    few, more = [f"line {number}" for number in range(50)], [f"line {number}" for number in range(51)]
    same = sum(shuffled(few, seed)[0] == shuffled(more, seed)[0] for seed in range(200))
    assert same > 180


def test_lines_of_the_client_are_taken_as_they_are_and_those_of_a_list_are_templates() -> None:
    assert lines(pieces(pool={"from": ["{a|b}"]})[0].job.prompt) == ["{a|b}"]
    assert "{" not in pieces(pool={"from": "nested", "count": 2})[0].job.prompt
    assert "__" not in pieces(pool={"from": "__nested__", "count": 2})[0].job.prompt


def test_a_comment_in_a_line_hides_nothing_that_is_put_behind_it() -> None:
    job = pieces(pool={"from": ["red # or blue"]}, wildcards=True)[0].job
    assert job.prompt == "a cat, red"


def test_several_pools_and_a_prompt_that_ends_in_a_comma() -> None:
    job = pieces(prompt="a cat, ", pool=[{"from": ["x"]}, {"from": ["y"]}])[0].job
    assert job.prompt == "a cat, x, y"
    assert pieces(prompt="", styles=["s"], pool={"from": ["x"]})[0].job.prompt == "x"


def test_a_prompt_of_its_own_pool() -> None:
    found = pieces(prompt="", prompts=[{"prompt": "a", "pool": {"from": ["x"]}}, "b"], pool={"from": ["y"]})
    assert [one.job.prompt for one in found] == ["a, x", "b, y"]


def test_a_seed_draws_its_loras_and_scales_alone() -> None:
    loras = [{"one_of": "character/*", "scale": [0.4, 0.9]}, {"name": "plain", "scale": 1}, {"one_of": "style/*"}]
    first, again = (pieces(seed=5, loras=loras)[0].job.loras for _ in range(2))
    assert first == again
    assert first is not None
    assert first[0].ref in FILES[:2]
    assert first[0].one_of is None
    assert 0.4 <= (first[0].fixed_scale or 0) <= 0.9
    assert first[2].ref == "style/oil.safetensors"
    drawn = {(pieces(seed=seed, loras=loras)[0].job.loras or [])[0].ref for seed in range(20)}
    assert drawn == set(FILES[:2])


def test_a_batch_with_one_possible_draw_stays_one_request() -> None:
    assert len(pieces(n_iter=4, loras=[{"one_of": "style/*"}])) == 1


def test_no_lora_is_drawn_twice() -> None:
    for seed in range(20):
        loras = pieces(seed=seed, loras=[{"one_of": "character/*"}, {"one_of": ["luca", "mia"]}])[0].job.loras or []
        assert {lora.ref.rpartition("/")[2].removesuffix(".safetensors") for lora in loras} == {"luca", "mia"}


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("character/*", FILES[:2]),
        ("CHARACTER/L*", FILES[:1]),
        ("*/luca.safetensors", FILES[:1]),
        ("l?ca", FILES[:1]),
        ("character/l[u]*", []),
    ],
)
def test_patterns_mean_paths_below_the_folder_or_names_of_files(pattern: str, files: list[str]) -> None:
    assert [file for file in FILES if matches(file, pattern)] == files


@pytest.mark.parametrize(
    ("raw", "path", "message"),
    [
        ({"pool": {"from": "optoins"}}, "pool.from", "is not a list of this endpoint; there are nested, options"),
        ({"pool": [{"from": "options"}, {"from": ["x"], "count": 2}]}, "pool[1].count", "but there are 1"),
        ({"pool": {"from": "options", "count": [5, 2]}}, "pool.count", "must have the smaller number first"),
        ({"pool": {"from": "options", "count": -1}}, "pool.count", "must be 0 to 50"),
        ({"pool": {"count": 2}}, "pool.from", "is missing"),
        ({"loras": [{"one_of": "charcter/*"}]}, "loras[0].one_of", "no LoRA file matches 'charcter/*'; the folder has"),
        ({"loras": [{"one_of": "style/*"}, {"one_of": "style/*"}]}, "loras[1].one_of", "leaves none to draw"),
        ({"loras": [{"one_of": "style/*", "name": "x"}]}, "loras[0]", "has one_of"),
        ({"loras": [{"name": "x", "scale": [0.1, 0.2, 0.3]}]}, "loras[0].scale", "a pair [least, most]"),
        ({"loras": [{"name": "x", "scale": [0.1, 11]}]}, "loras[0].scale", "must be -10 to 10"),
    ],
)
def test_a_mistake_names_its_field(raw: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        pieces(**raw)
    assert caught.value.problems[0].path == path
    assert message in caught.value.problems[0].message


def test_only_a_choice_needs_the_folder() -> None:
    def job(**raw: Any) -> Generation:
        parsed = parse_job(raw)
        assert isinstance(parsed, Generation)
        return parsed

    assert draws_loras(job(prompt="a", loras=[{"one_of": "a/*"}]))
    assert draws_loras(job(prompts=[{"prompt": "b", "loras": [{"one_of": "a/*"}]}]))
    assert not draws_loras(job(prompt="a", loras=[{"name": "a", "scale": [0, 1]}]))


def test_fractions_are_spread_evenly() -> None:
    values = [fraction(seed, "x") for seed in range(2000)]
    assert min(values) >= 0
    assert max(values) < 1
    assert abs(sum(values) / len(values) - 0.5) < 0.02


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"pool": {"from": ["x" * 11_000, "y" * 11_000], "count": 2}}, "grows over 20000 characters"),
        ({"pool": {"from": ["(a)" * 200, "(b)" * 200], "count": 2}}, "in brackets side by side"),
        ({"prompt": "{" + "(a)" * 200 + "}{" + "(b)" * 200 + "}", "wildcards": True}, "in brackets side by side"),
    ],
)
def test_a_prompt_that_is_too_large_once_drawn_is_refused(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        pieces(**raw)
    assert caught.value.problems[0].path == "prompt"
    assert message in caught.value.problems[0].message
