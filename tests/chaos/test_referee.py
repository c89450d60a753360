"""The referee itself: it must not pass what is wrong, and has to say enough of it to be traced."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.chaos.asks import MODELS, Ask, Draw, webui
from tests.chaos.evidence import Evidence
from tests.chaos.plan import Job
from tests.chaos.referee import Expectations, Score, is_accepted
from tests.support import models
from tests.support.jobsource import JobSource
from tests.support.standin import running_standin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.standin import StandIn

BASE = {"prompt": "a cat, job-1", "steps": 2, "width": 64, "height": 64, "seed": 5, "checkpoint": MODELS[0]}
JOB = Job("job-1", "batch", {**BASE, "batch_size": 2}, asks=(Ask("txt2img", webui(BASE, batch_size=2), count=2),))
ERROR = {"error_code": "invalid_input", "error": "invalid_input: steps", "retryable": False}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("requests")


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory, records: Path) -> Iterator[StandIn]:
    folder = tmp_path_factory.mktemp("referee")
    models.model_folders(folder / "models")
    with running_standin(folder, env={"STANDIN_RECORD_FILE": str(records / "1.jsonl")}) as running:
        yield running


@pytest.fixture
def source() -> Iterator[JobSource]:
    with JobSource(hold_s=0.1) as running:
        yield running


def judged(standin: StandIn, source: JobSource, *outputs: dict[str, Any], job: Job = JOB) -> Score:
    """Return the score after these answers to a job were posted."""
    for output in outputs:
        post(source, job, output)
    return score_of(standin, source, job)


def post(source: JobSource, job: Job, output: dict[str, Any]) -> None:
    address = source.worker_env()["RUNPOD_WEBHOOK_POST_OUTPUT"].replace("$RUNPOD_POD_ID/$ID", f"pod/{job.id}")
    body = {"output": output, "error": output.get("error")}  # the SDK puts it there
    requests.post(address, json=body, timeout=10).raise_for_status()


def score_of(standin: StandIn, source: JobSource, *jobs: Job) -> Score:
    score = Score()
    score.judge(jobs, Expectations(standin, jobs), source)
    return score


def made(standin: StandIn, job: Job = JOB, output: dict[str, Any] | None = None) -> list[str]:
    """Return a job's right pictures."""
    return [image for images in Expectations(standin, [job]).pictures(job, output or {}) for image in images]


def of_seeds(standin: StandIn, *seeds: int) -> list[str]:
    return [image for seed in seeds for image in standin.post("txt2img", webui(BASE, seed=seed)).json()["images"]]


def test_the_right_pictures_are_right(standin: StandIn, source: JobSource) -> None:
    score = judged(standin, source, {"images": made(standin)})
    assert (score.right, score.wrong, score.suspects) == (1, [], {})


@pytest.mark.parametrize("spoilt", ["other seed", "other order", "one too few", "one twice"])
def test_any_other_pictures_are_wrong(standin: StandIn, source: JobSource, spoilt: str) -> None:
    first, second = made(standin)
    (other,) = of_seeds(standin, 99)
    images = {
        "other seed": [first, other],
        "other order": [second, first],
        "one too few": [first],
        "one twice": [first, first],
    }[spoilt]
    score = judged(standin, source, {"images": images})
    assert (score.right, len(score.wrong), list(score.suspects)) == (0, 1, [JOB.id])


def test_a_job_without_an_answer_is_lost_and_one_with_two_is_a_duplicate(standin: StandIn, source: JobSource) -> None:
    assert judged(standin, source).lost == [JOB.id]
    assert judged(standin, source, ERROR, ERROR).duplicates == [JOB.id]


def test_a_typed_error_is_no_flaw(standin: StandIn, source: JobSource) -> None:
    score = judged(standin, source, ERROR)
    assert (score.errors, score.wrong) == ({"invalid_input": 1}, [])


@pytest.mark.parametrize("change", [{"error_code": "oops"}, {"error": "steps"}, {"retryable": None}])
def test_an_error_that_clients_can_not_act_on_is_wrong(
    standin: StandIn, source: JobSource, change: dict[str, Any]
) -> None:
    assert len(judged(standin, source, {**ERROR, **change}).wrong) == 1


SINGLES = tuple(Ask("txt2img", webui(BASE, seed=seed)) for seed in range(5, 13))
ACCEPTED = Job("job-1", "accepted", BASE, asks=tuple(replace(one, judged=one) for one in SINGLES), most=2)


def test_of_a_job_with_judges_the_first_pictures_of_their_quality_are_right(
    standin: StandIn, source: JobSource
) -> None:
    every = of_seeds(standin, *range(5, 13))
    good = [image for image in every if is_accepted(image)]
    assert 2 < len(good) < len(every)
    assert judged(standin, source, {"images": good[:2]}, job=ACCEPTED).right == 1
    for number, wrong in enumerate((every[:2] if every[:2] != good[:2] else every[2:4], good[1:3], good[:3], good[:1])):
        job = replace(ACCEPTED, id=f"wrong-{number}")
        assert len(judged(standin, source, {"images": wrong}, job=job).wrong) == 1
    fewer = {"images": good[:1], "warnings": ["accept: 1 of 2 …; no more could be made: the WebUI is gone"]}
    assert judged(standin, source, fewer, job=replace(ACCEPTED, id="fewer")).right == 1


DRAW = replace(JOB, asks=SINGLES[:1], draw=Draw(("at dawn", "at dusk"), 1, 2, ("add_detail",), (0.3, 0.9)))
ROW: dict[str, Any] = {"prompt": f"{BASE['prompt']}, at dusk", "loras": [{"name": "add_detail", "scale": 0.5}]}


def test_what_pictures_have_drawn_is_taken_from_the_answer_and_looked_at(standin: StandIn, source: JobSource) -> None:
    image = made(standin, DRAW, {"pictures": [ROW]})
    assert judged(standin, source, {"images": image, "pictures": [ROW]}, job=DRAW).right == 1
    changes: tuple[dict[str, Any], ...] = (
        {"prompt": BASE["prompt"]},
        {"prompt": f"{BASE['prompt']}, at dusk, at dusk"},
        {"prompt": f"{BASE['prompt']}, at noon"},
        {"prompt": f"{BASE['prompt']}, at dawn"},
        {"loras": [{"name": "style_two", "scale": 0.5}]},
        {"loras": [{"name": "add_detail", "scale": 1.0}]},
    )
    for number, change in enumerate(changes):
        output = {"images": image, "pictures": [{**ROW, **change}]}
        assert len(judged(standin, source, output, job=replace(DRAW, id=f"wrong-{number}")).wrong) == 1


def test_the_same_job_once_more_has_to_have_the_same_pictures(standin: StandIn, source: JobSource) -> None:
    again = replace(DRAW, id="job-2", after=DRAW.id, is_repeat=True)
    other = {**ROW, "prompt": f"{BASE['prompt']}, at dawn"}
    for job, row in ((DRAW, ROW), (again, other)):
        post(source, job, {"images": made(standin, job, {"pictures": [row]}), "pictures": [row]})
    score = score_of(standin, source, DRAW, again)
    assert (score.right, list(score.suspects)) == (1, [again.id])


def test_of_a_continuation_the_pictures_of_its_parts_are_looked_at(standin: StandIn, source: JobSource) -> None:
    first, second, third = of_seeds(standin, 5, 6, 7)
    job = replace(JOB, asks=SINGLES[:3])
    parts: list[dict[str, Any]] = [{"status": "skipped", "images": [first]}, {"status": "failed", "error": ERROR}]
    parts.append({"status": "made", "images": [third]})
    output: dict[str, Any] = {"images": [third], "parts": parts}
    assert judged(standin, source, output, job=job).errors == {"invalid_input": 1}
    parts[0]["images"] = [second]
    assert len(judged(standin, source, output, job=replace(job, id="wrong")).wrong) == 1


def test_the_pictures_of_stages_are_looked_at_too(standin: StandIn, source: JobSource) -> None:
    first, second = of_seeds(standin, 5, 6)
    job = replace(JOB, asks=SINGLES[:2])
    assert judged(standin, source, {"images": [second], "stages": [{"images": [first]}, {}]}, job=job).right == 1
    wrong = {"images": [second], "stages": [{"images": [second]}, {}]}
    assert len(judged(standin, source, wrong, job=replace(job, id="wrong")).wrong) == 1


def test_what_is_known_of_a_wrong_job_is_written_down(
    standin: StandIn, source: JobSource, records: Path, tmp_path: Path
) -> None:
    (other,) = of_seeds(standin, 99)
    judged(standin, source, {"images": [other]})
    Evidence(tmp_path, source, records).write(JOB, {"id": JOB.id, "input": JOB.input}, [made(standin)])
    place = tmp_path / JOB.id
    assert json.loads((place / "job.json").read_text())["input"] == JOB.input
    sent = [entry["json"] for entry in json.loads((place / "requests.json").read_text())]
    assert {"prompt": BASE["prompt"], "seed": 99}.items() <= next(body for body in sent if body["seed"] == 99).items()
    story = (place / "story.txt").read_text()
    assert "made-0-0: " in story
    assert "Seed: 99" in story
    assert (place / "reference-0-1").read_bytes().startswith(b"\x89PNG")
    assert (place / "made-0-0").read_bytes().startswith(b"\x89PNG")
