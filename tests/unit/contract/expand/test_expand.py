from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.contract.expand.prompts import Piece, expand
from worker.contract.expand.wildcards import expand_text
from worker.contract.parse.job_parser import parse_job
from worker.contract.types.job import Generation
from worker.contract.types.kinds import Img2Img
from worker.errors import InvalidInput

LISTS = {"animal": ["cat", "dog", "owl"], "nested": ["a __animal__", "{one|two}"], "loop": ["__loop__"]}


def pieces(**raw: Any) -> list[Piece]:
    job = parse_job(raw)
    assert isinstance(job, Generation)
    counter = itertools.count(1000)
    return expand(job, draw=lambda: next(counter), lists=LISTS, split_batches=bool(job.stream))


def fields(**raw: Any) -> list[dict[str, Any]]:
    return [piece.job.plain_fields() for piece in pieces(**raw)]


def test_a_plain_job_is_one_piece_with_a_drawn_seed() -> None:
    assert fields(prompt="a") == [{"prompt": "a", "seed": 1000}]
    assert fields(prompt="a", seed=5) == [{"prompt": "a", "seed": 5}]


@pytest.mark.parametrize(
    ("batches", "seeds"),
    [({}, [5, 6, 7]), ({"batch_size": 2}, [5, 7, 9]), ({"n_iter": 3}, [5, 8, 11]), ({"seed": 0}, [0, 1, 2])],
)
def test_each_start_picture_is_a_job_whose_seeds_count_on(batches: dict[str, int], seeds: list[int]) -> None:
    found = pieces(**{"prompt": "a", "init_images": ["key:a.png", "key:b.png", "key:c.png"], "seed": 5, **batches})
    assert [piece.job.seed for piece in found] == seeds
    starts = [piece.job.init_images for piece in found if isinstance(piece.job, Img2Img)]
    assert starts == [[f"key:{name}.png"] for name in "abc"]
    assert [piece.path for piece in found] == ["init_images[0]", "init_images[1]", "init_images[2]"]
    drawn = pieces(prompt="a", init_images=["key:a.png", "key:b.png"])
    assert [piece.job.seed for piece in drawn] == [1000, 1001]


def test_batches_of_a_job_that_streams_are_asked_for_one_by_one_with_the_same_seeds() -> None:
    found = pieces(prompt="a", seed=5, batch_size=2, n_iter=3, stream=True)
    assert [piece.job.plain_fields() for piece in found] == [
        {"prompt": "a", "seed": seed, "batch_size": 2} for seed in (5, 7, 9)
    ]
    assert [(piece.path, piece.continues) for piece in found] == [("", False), ("", True), ("", True)]
    assert len(pieces(prompt="a", seed=5, n_iter=3)) == 1


def test_variations_of_a_job_that_streams_count_their_subseed() -> None:
    told = fields(prompt="a", seed=5, n_iter=2, subseed_strength=0.5, stream=True)
    assert [(one["seed"], one["subseed"]) for one in told] == [(5, 1000), (5, 1001)]
    for sent, first in ((0, 0), (7, 7), (-1, 1000)):
        told = fields(prompt="a", seed=5, n_iter=2, subseed_strength=0.5, subseed=sent, stream=True)
        assert [(one["seed"], one["subseed"]) for one in told] == [(5, first), (5, first + 1)]


def test_a_batch_that_would_be_split_is_split_before_it_streams() -> None:
    job = parse_job({"prompt": "a", "seed": 5, "width": 64, "height": 64, "batch_size": 4, "stream": True})
    assert isinstance(job, Generation)
    found = expand(job, draw=lambda: 0, lists={}, max_pixels=2 * 64 * 64, split_batches=True)
    assert [(one.job.seed, one.job.batch_size) for one in found] == [(5, 2), (7, 2)]


def test_each_seed_is_a_piece() -> None:
    found = pieces(prompt="a", seeds=[5, -1, 7], batch_size=3)
    assert [piece.job.plain_fields() for piece in found] == [
        {"prompt": "a", "seed": 5},
        {"prompt": "a", "seed": 1000},
        {"prompt": "a", "seed": 7},
    ]
    assert [piece.path for piece in found] == ["seeds[0]", "seeds[1]", "seeds[2]"]


def test_each_prompt_is_a_piece_with_its_overrides() -> None:
    found = pieces(prompts=["a", {"prompt": "b", "steps": 5, "sampler_name": "x"}], steps=9, seed=3)
    assert [piece.job.plain_fields() for piece in found] == [
        {"prompt": "a", "steps": 9, "seed": 3},
        {"prompt": "b", "steps": 5, "sampler_name": "x", "seed": 3},
    ]
    assert found[1].job.path("sampler_name") == "prompts[1].sampler_name"
    assert found[0].job.path("sampler_name") == "sampler_name"


def test_wildcards_vary_the_pictures_of_a_batch() -> None:
    found = fields(prompt="a {red|green|blue} __animal__", wildcards=True, seed=1, batch_size=4)
    assert [piece["seed"] for piece in found] == [1, 2, 3, 4]
    assert len({piece["prompt"] for piece in found}) > 1
    assert all("{" not in piece["prompt"] and "__" not in piece["prompt"] for piece in found)


def test_wildcards_are_filled_in_in_the_second_pass_too() -> None:
    hires = {"enable_hr": True, "denoising_strength": 0.5, "hr_prompt": "a {red|green}", "hr_negative_prompt": "{x|y}"}
    (piece,) = fields(prompt="a", wildcards=True, seed=1, **hires)
    assert piece["hr_prompt"] in {"a red", "a green"}
    assert piece["hr_negative_prompt"] in {"x", "y"}


def test_a_comment_is_left_out_before_its_wildcards_are_looked_for() -> None:
    assert fields(prompt="a cat # {not closed", wildcards=True, seed=1)[0]["prompt"] == "a cat"


def test_the_same_seed_gives_the_same_prompt_alone() -> None:
    batch = fields(prompt="a {red|green|blue}", wildcards=True, seed=1, batch_size=4)
    alone = fields(prompt="a {red|green|blue}", wildcards=True, seed=3)
    assert alone[0]["prompt"] == batch[2]["prompt"]


def test_a_prompt_without_wildcards_stays_one_batch() -> None:
    assert fields(prompt="a", wildcards=True, seed=1, batch_size=4) == [{"prompt": "a", "seed": 1, "batch_size": 4}]


def test_braces_are_left_alone_when_wildcards_are_not_asked_for() -> None:
    assert fields(prompt="{a|b}", seed=1)[0]["prompt"] == "{a|b}"


@pytest.mark.parametrize(
    ("text", "possible"),
    [
        ("{a|b}", {"a", "b"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{2$$a|b}", {"a, b", "b, a"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{1-2$$a|b}", {"a", "b", "a, b", "b, a"}),
        ("{1000$$a|b}", {"a, b", "b, a"}),
        ("{2-999999999$$a|b}", {"a, b", "b, a"}),
        ("{0::a|1::b}", {"b"}),
        ("__nested__", {"a cat", "a dog", "a owl", "one", "two"}),
        ("{a}", {"a"}),
        ("{}", {""}),
    ],
)
def test_templates_give_what_they_say(text: str, possible: set[str]) -> None:
    found = {expand_text(text, seed, LISTS) for seed in range(60)}
    assert found == possible


@pytest.mark.parametrize("text", ["{a|b", "a}", "__nothing__", "__loop__", "}{"])
def test_templates_that_can_not_be_filled_in_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        expand_text(text, 1, LISTS, path="negative_prompt")
    assert caught.value.problems[0].path == "negative_prompt"


def test_an_unknown_wildcard_gets_the_one_that_was_meant() -> None:
    with pytest.raises(InvalidInput) as caught:
        expand_text("__animel__", 1, LISTS)
    assert caught.value.problems[0].suggestion == "animal"


@settings(max_examples=80)
@given(st.text("{}|$:_ab2-", max_size=60), st.integers(0, 2**32))
def test_any_template_ends(text: str, seed: int) -> None:
    try:
        assert len(expand_text(text, seed, LISTS)) <= 20_000
    except InvalidInput:
        return


def test_a_counted_choice_takes_different_lines_of_a_list() -> None:
    lists = {"colour": ["red", "green", "blue", "grey"], "metal": ["iron", "{old|new} gold"]}
    for seed in range(40):
        drawn = expand_text("{2-4$$__colour__}", seed, lists).split(", ")
        assert 2 <= len(drawn) <= 4
        assert len(set(drawn)) == len(drawn)
        mixed = expand_text("{2$$ and $$__metal__|tin}", seed, lists).split(" and ")
        assert len(set(mixed)) == 2
        assert set(mixed) <= {"iron", "old gold", "new gold", "tin"}


def test_a_list_within_a_longer_option_gives_one_line() -> None:
    lists = {"colour": ["red", "green"]}
    for seed in range(20):
        assert expand_text("{2$$a __colour__ cat|dog}", seed, lists).count("__") == 0
        assert expand_text("{1$$__colour__}", seed, lists) in {"red", "green"}
