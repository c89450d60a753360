from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.gallery.duplicates import near_duplicates
from worker.gallery.facts import PictureFacts, read_facts
from worker.gallery.job_requests import (
    NoSuchJob,
    facts_document,
    final_name,
    finished,
    finishing_job,
    next_seeds,
    repeated_job,
    seeds_alike,
)

INFOTEXT = "a cat <lora:film:0.8>\nNegative prompt: dog\nSteps: 20, Sampler: Euler, Seed: 7, Size: 64x96, Model: base"


def facts(document: Any = None, infotext: str | None = INFOTEXT, name: str = "a.png") -> PictureFacts:
    return read_facts(name, None if document is None else json.dumps(document).encode(), infotext, (64, 96))


def test_the_json_counts_before_the_infotext() -> None:
    told = facts({"prompt": "a dog", "seed": 9, "checkpoint": {"name": "other", "hash": "1"}, "loras": [{"name": "l"}]})
    assert (told.prompt, told.seed, told.checkpoint, told.loras) == ("a dog", 9, "other", ("l",))
    plain = facts()
    assert (plain.prompt, plain.negative_prompt, plain.seed) == ("a cat <lora:film:0.8>", "dog", 7)
    assert (plain.checkpoint, plain.loras, plain.width, plain.height) == ("base", ("film",), 64, 96)
    assert ("Sampler", "Euler") in plain.parameters


def test_parameters_are_told_as_people_write_them() -> None:
    document = {
        "schema": "a1111-worker/batch/1",
        "applied": {"sampler": "Euler", "vae": None, "loras": [], "size": {"width": 64, "height": 96}},
        "loras": [{"name": "film", "scale": 0.8}, {"name": "grain"}],
        "batch": {"item": "56cd", "index": 0},
        "index": 0,
        "stage": "base",
    }
    told = dict(facts(document, infotext=None).parameters)
    assert told == {"sampler": "Euler", "size": "64x96", "loras": "film (0.8), grain", "stage": "base"}


def test_scores_are_named_by_their_path() -> None:
    told = facts(
        {"checks": {"face": {"similarity": 0.61, "faces": 1}}, "judged": [{"seed": 3, "quality": {"score": 0.5}}]}
    )
    assert told.scores == {"face.similarity": 0.61, "face.faces": 1.0, "quality.score": 0.5}


@pytest.mark.parametrize(
    ("name", "stage", "seed"),
    [
        ("stage1/20260207-143022_s1234_base_768x1344.png", "base", 1234),
        ("final/001-77.png", "final", 77),
        ("003-88.png", "", 88),
        ("holiday.png", "", None),
    ],
)
def test_names_tell_stage_and_seed_where_nothing_else_does(name: str, stage: str, seed: int | None) -> None:
    told = facts(None, None, name)
    assert (told.stage, told.seed) == (stage, seed)


@given(st.binary(max_size=200), st.text(max_size=200))
def test_nothing_that_strangers_write_breaks_it(document: bytes, infotext: str) -> None:
    read_facts("a.png", document, infotext, (0, 0))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_values_of_any_type_are_taken_as_unknown_or_as_they_are(value: Any) -> None:
    fields = ("prompt", "seed", "checkpoint", "loras", "size", "stage", "stages", "job", "checks", "judged", "key")
    json.dumps(dict(facts(dict.fromkeys(fields, value), None).scores), allow_nan=False)


def test_halves_of_characters_are_replaced() -> None:
    told = read_facts("a.png", b'{"prompt": "a\\ud800b", "x\\ud800": "y"}', None, (0, 0))
    assert told.prompt == "a?b"
    assert ("x?", "y") in told.parameters


def test_a_candidate_is_finished_by_its_key_else_by_its_own_job_to_the_end() -> None:
    job = {"type": "workflow", "prompt": "a", "until": "base"}
    assert finishing_job(facts({"key": "p/1.png"}), None) == {"type": "continue", "keys": ["p/1.png"]}
    assert finishing_job(facts({"job": job}), "x/a.png") == {"type": "continue", "keys": ["x/a.png"]}
    assert finishing_job(facts({"job": job}), None) == {"type": "workflow", "prompt": "a"}
    for document, said in (({}, "no JSON"), ({"job": {"prompt": "a"}}, "until"), ({"stage": "final"}, "final")):
        with pytest.raises(NoSuchJob, match=said):
            finishing_job(facts(document), None)


def test_the_same_again_is_one_picture_with_the_wanted_seed() -> None:
    job = {"prompt": "a", "seed": 1, "batch_size": 4, "seeds": [1, 2]}
    assert repeated_job(facts({"job": job}), 5) == {"prompt": "a", "seed": 5}
    assert repeated_job(facts(), 5)["seed"] == 5
    assert repeated_job(facts(), 5)["sampler_name"] == "Euler"
    with pytest.raises(NoSuchJob):
        repeated_job(facts(None, None), 5)


def test_one_of_several_pictures_is_finished_and_made_again_alone() -> None:
    job = {"type": "workflow", "prompt": "a", "until": "base", "seed": 5, "n_iter": 4}
    told = facts({"job": job, "seed": 7})
    assert finishing_job(told, None) == {"type": "workflow", "prompt": "a", "seed": 7}
    assert repeated_job(told, 9) == {"type": "workflow", "prompt": "a", "until": "base", "seed": 9}
    unclear = facts({"job": {**job, "init_images": ["x", "y"]}, "seed": 7})
    with pytest.raises(NoSuchJob, match="several"):
        finishing_job(unclear, None)
    with pytest.raises(NoSuchJob, match="several"):
        repeated_job(unclear, 9)


def test_the_next_seed_of_a_later_stage_s_picture_is_that_of_its_job() -> None:
    told = facts({"job": {"type": "workflow", "until": "mid", "seed": 7}, "seed": 1007})
    assert repeated_job(told, 1008)["seed"] == 8


def test_a_picture_that_was_continued_is_made_again_from_its_candidate() -> None:
    with pytest.raises(NoSuchJob, match="choose that one"):
        repeated_job(facts({"job": {"type": "continue", "keys": ["a"]}, "seed": 7}), 8)


def test_what_an_answer_leaves_open_about_a_picture_is_taken_from_its_candidate() -> None:
    told = facts_document(facts(), {}, {"prompt": None, "loras": [], "checkpoint": None, "size": {"width": 8}})
    assert (told["prompt"], told["checkpoint"], told["loras"]) == ("a cat <lora:film:0.8>", "base", ["film"])
    assert told["size"] == {"width": 8}


def test_pictures_of_one_job_are_alike_whatever_their_seeds_have_drawn() -> None:
    job = {"type": "workflow", "prompt": "a {red|green} house", "wildcards": True, "until": "base"}
    red, green = (
        facts({"prompt": f"a {colour} house", "seed": 7 + add, "job": {**job, "seed": 7 + add}})
        for add, colour in enumerate(("red", "green"))
    )
    other = facts({"prompt": "a blue house", "seed": 9, "job": {**job, "steps": 4, "seed": 9}})
    same_words = facts({"prompt": "a red house", "seed": 11})
    assert seeds_alike(red, [red, green, other, same_words, facts({"seed": 12})]) == {7, 8, 11}


def test_next_seeds_pass_over_used_ones_and_go_round_at_the_end() -> None:
    assert next_seeds(7, {8, 10}, 3) == [9, 11, 12]
    assert next_seeds(2**32 - 1, set(), 1) == [0]


def test_finals_are_known_by_their_source_or_their_name() -> None:
    assert final_name("stage1/a.png") == "final/a"
    assert final_name("a.png") == "final/a"
    assert final_name("trip/a.png") == "trip/final/a"
    pictures = [
        ("stage1/a.png", None),
        ("final/a.webp", None),
        ("b.png", None),
        ("c.png", None),
        ("made/x.png", PictureFacts(stage="final", source="b.png")),
    ]
    assert finished(pictures) == {"stage1/a.png", "b.png"}


def test_pictures_are_near_duplicates_by_pairs_of_few_different_bits() -> None:
    groups = near_duplicates(
        {"a": 0, "b": 0b111111, "c": 0b111111111111, "d": 2**64 - 1, "e": 2**64 - 1, "f": 0x0F0F0F0F}
    )
    assert sorted(map(sorted, groups)) == [["a", "b", "c"], ["d", "e"]]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.data())
def test_no_pair_of_six_different_bits_is_missed(values: list[int], data: st.DataObject) -> None:
    hashes = {str(index): value for index, value in enumerate(values)}
    for index, value in enumerate(values):
        bits = data.draw(st.sets(st.integers(0, 63), max_size=6))
        hashes[f"near {index}"] = value ^ sum(1 << bit for bit in bits)
    group_of = {one: number for number, group in enumerate(near_duplicates(hashes)) for one in group}
    for index in range(len(values)):
        assert group_of[str(index)] == group_of[f"near {index}"]
