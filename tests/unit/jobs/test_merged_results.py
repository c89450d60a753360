"""Several parts of one job as one result: every picture in its place, every part's own words beside it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.pictures import png
from worker.contract.expand.prompts import expand
from worker.contract.parse.job_parser import parse_job
from worker.errors import NanImage, WorkerError
from worker.images.inspect import inspect
from worker.jobs.results import Generated, PartResult, merge_results


def made(seed: int, count: int = 1, **more: Any) -> Generated:
    pictures = tuple(inspect(png()) for _ in range(count))
    facts = {"applied": {"checkpoint": f"m{seed}"}, "info": {"seed": seed}, "parameters": {"seed": seed}}
    return Generated(pictures, tuple(range(seed, seed + count)), **{**facts, **more})


def test_each_part_says_its_pictures_and_how_they_were_made() -> None:
    whole = merge_results([PartResult("prompts[0]", made(5, 2)), PartResult("prompts[1]", made(9))])
    assert (len(whole.pictures), whole.seeds) == (3, (5, 6, 9))
    assert [part["path"] for part in whole.parts] == ["prompts[0]", "prompts[1]"]
    assert [part["images"] for part in whole.parts] == [[0, 1], [2]]
    assert [part["applied"]["checkpoint"] for part in whole.parts] == ["m5", "m9"]
    assert [part["info"]["seed"] for part in whole.parts] == [5, 9]
    assert [part["parameters"]["seed"] for part in whole.parts] == [5, 9]


def test_a_part_that_failed_leaves_the_others_and_says_why() -> None:
    failed = PartResult("prompts[0]", error=NanImage("black"))
    whole = merge_results([failed, PartResult("prompts[1]", made(9))])
    assert [part["images"] for part in whole.parts] == [[], [0]]
    assert whole.parts[0]["error"]["error_code"] == "nan_image"
    assert "info" not in whole.parts[0]
    assert whole.applied == {"checkpoint": "m9"}
    assert whole.warnings == ("prompts[0] failed: black",)


def test_where_every_part_failed_the_first_error_is_the_jobs() -> None:
    with pytest.raises(WorkerError) as caught:
        merge_results([PartResult("a", error=NanImage("first")), PartResult("b", error=NanImage("second"))])
    assert caught.value.message == "first"


def test_requests_that_continue_a_part_are_one_part() -> None:
    first = made(5, info={"seed": 5, "all_seeds": [5]}, warnings=("w",))
    whole = merge_results([PartResult("", first).followed(PartResult("", made(6, info={"all_seeds": [6]})))])
    assert whole.seeds == (5, 6)
    assert whole.info == {"seed": 5, "all_seeds": [5, 6]}
    assert whole.parts == ()


@pytest.mark.parametrize(
    ("fields", "paths"),
    [
        ({"prompt": "a {cat|dog|bird}", "wildcards": True, "seed": 1, "n_iter": 3}, {"prompt"}),
        ({"prompts": [{"prompt": "a"}, {"prompt": "b"}]}, {"prompts[0]", "prompts[1]"}),
        ({"prompt": "a", "seeds": [1, 2]}, {"seeds[0]", "seeds[1]"}),
    ],
)
def test_every_part_of_several_says_where_in_the_job_it_comes_from(fields: dict[str, Any], paths: set[str]) -> None:
    job: Any = parse_job(fields)
    pieces = expand(job, draw=lambda: 7, lists={})
    assert len(pieces) > 1
    assert {piece.path for piece in pieces} == paths
