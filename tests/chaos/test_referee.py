"""The referee itself: it must not pass what is wrong, and has to say enough of it to be traced."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.chaos.evidence import Evidence
from tests.chaos.kinds import MODELS, Ask, webui
from tests.chaos.plan import Job
from tests.chaos.referee import Score, expected, references
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


def judged(standin: StandIn, source: JobSource, *outputs: dict[str, Any]) -> Score:
    """Return the score after these answers to the job were posted."""
    address = source.worker_env()["RUNPOD_WEBHOOK_POST_OUTPUT"].replace("$RUNPOD_POD_ID/$ID", f"pod/{JOB.id}")
    for output in outputs:
        body = {"output": output, "error": output.get("error")}  # the SDK puts it there
        requests.post(address, json=body, timeout=10).raise_for_status()
    score = Score()
    score.judge([JOB], expected(standin, [JOB]), source)
    return score


def test_the_right_pictures_are_right(standin: StandIn, source: JobSource) -> None:
    score = judged(standin, source, {"images": references(standin, JOB)[0]})
    assert (score.right, score.wrong, score.suspects) == (1, [], {})


@pytest.mark.parametrize("spoilt", ["other seed", "other order", "one too few", "one twice"])
def test_any_other_pictures_are_wrong(standin: StandIn, source: JobSource, spoilt: str) -> None:
    first, second = references(standin, JOB)[0]
    (other,) = standin.post("txt2img", webui(BASE, seed=99)).json()["images"]
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


def test_what_is_known_of_a_wrong_job_is_written_down(
    standin: StandIn, source: JobSource, records: Path, tmp_path: Path
) -> None:
    (other,) = standin.post("txt2img", webui(BASE, seed=99)).json()["images"]
    judged(standin, source, {"images": [other]})
    Evidence(tmp_path, source, records).write(JOB, {"id": JOB.id, "input": JOB.input}, references(standin, JOB))
    place = tmp_path / JOB.id
    assert json.loads((place / "job.json").read_text())["input"] == JOB.input
    sent = [entry["json"] for entry in json.loads((place / "requests.json").read_text())]
    assert {"prompt": BASE["prompt"], "seed": 99}.items() <= next(body for body in sent if body["seed"] == 99).items()
    story = (place / "story.txt").read_text()
    assert "made-0-0: " in story
    assert "Seed: 99" in story
    assert (place / "reference-0-1").read_bytes().startswith(b"\x89PNG")
    assert (place / "made-0-0").read_bytes().startswith(b"\x89PNG")
