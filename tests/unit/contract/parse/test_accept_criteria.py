"""What `accept` and jobs that judge may ask for, and what they can't be combined with."""

from __future__ import annotations

from typing import Any

import pytest

from worker.contract.base.limits import Limits
from worker.contract.parse.job_parser import parse_job
from worker.contract.types.job import Generation
from worker.contract.types.kinds import JudgeImages
from worker.errors import InvalidInput

PICTURE = "key:made.png"


def accept(**fields: Any) -> dict[str, Any]:
    return {"prompt": "a cat", "accept": {"quality": {}, **fields}}


def test_an_empty_criterion_asks_for_a_judge_with_its_defaults() -> None:
    job = parse_job(accept())
    assert isinstance(job, Generation)
    assert job.accept is not None
    assert job.accept.quality is not None
    assert (job.accept.wanted, job.accept.most) == (1, 4)
    judged = parse_job({"type": "judge", "images": [PICTURE], "quality": {}})
    assert isinstance(judged, JudgeImages)
    assert judged.quality is not None


@pytest.mark.parametrize(
    ("references", "read"), [("luca", "luca"), (PICTURE, [PICTURE]), ([PICTURE] * 2, [PICTURE] * 2)]
)
def test_references_are_a_name_or_pictures(references: Any, read: Any) -> None:
    job = parse_job(accept(face={"references": references, "against": "max"}))
    assert isinstance(job, Generation)
    assert job.accept is not None
    assert job.accept.face is not None
    assert (job.accept.face.references, job.accept.face.against) == (read, "best")


@pytest.mark.parametrize(
    ("job", "path", "said"),
    [
        ({"prompt": "x", "accept": {}}, "accept", "asks for nothing"),
        ({"type": "judge", "images": [PICTURE]}, "", "asks for nothing"),
        (accept(count=17), "accept.count", "at most 16"),
        (accept(count=3, at_most=2), "accept.at_most", "at least count"),
        ({**accept(), "n_iter": 2}, "n_iter", "can't be combined with accept"),
        ({**accept(), "seeds": [1, 2]}, "seeds", "can't be combined with accept"),
        ({**accept(), "prompts": ["a", "b"]}, "prompts", "can't be combined with accept"),
        ({**accept(), "init_images": [PICTURE] * 2}, "init_images", "one picture"),
        ({"prompt": "x", "output": {"rejected": "store"}}, "output.rejected", "no effect without accept"),
        (accept(judges=[{"name": "quality"}]), "accept.judges[0].name", "field of its own"),
        (accept(judges=[{"name": "a"}, {"name": "a"}]), "accept.judges[1].name", "a second time"),
        (
            {"type": "judge", "images": [PICTURE], "judges": [{"name": "a"}, {"name": "a"}]},
            "judges[1].name",
            "a second time",
        ),
        (accept(face={"references": "../luca"}), "accept.face.references", "neither a name"),
        (accept(face={"references": [7]}), "accept.face.references", "for a picture"),
        (accept(face={}), "accept.face.references", "is missing"),
    ],
)
def test_criteria_that_make_no_sense_are_mistakes(job: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_job(job, limits=Limits(max_images=16))
    assert any(one.path == path and said in one.message for one in raised.value.problems), raised.value


@pytest.mark.parametrize(
    "job",
    [
        {**accept(), "init_images": [PICTURE]},
        {**accept(count=2, at_most=2), "seed": 3},
        accept(count=16, at_most=16),
        accept(judges=[{"name": "a"}, {"name": "b"}]),
    ],
)
def test_what_makes_sense_beside_criteria_is_no_mistake(job: dict[str, Any]) -> None:
    assert isinstance(parse_job(job, limits=Limits(max_images=16)), Generation)
