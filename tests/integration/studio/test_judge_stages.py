"""Judge stages of workflows, and workflows whose first stage makes pictures until enough are accepted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import Worker
from tests.integration.studio.test_workflows import asked
from tests.support.judge_models import brightness_model
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.servers.s3 import Store

BASE: dict[str, Any] = {"name": "base", "type": "txt2img", "width": 64, "height": 64}
FINAL: dict[str, Any] = {"name": "final", "type": "upscale", "scale": 2, "upscaler": "Lanczos"}
ROUNDING = 0.0001
"""Of the scores that an answer tells."""


@pytest.fixture(scope="module")
def shared(studio_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker with a store and a judge of brightness."""
    folder = tmp_path_factory.mktemp("judges")
    model = str(brightness_model(folder / "aesthetic.onnx"))
    with running_host(folder, {**studio_settings, "AESTHETIC_MODEL": model}) as host:
        yield Worker(host)


@pytest.fixture
def judging(shared: Worker) -> Iterator[Worker]:
    shared.reset()
    yield shared
    shared.reset()


def pick(least: float, **fields: Any) -> dict[str, Any]:
    return {"name": "pick", "type": "judge", "judges": [{"name": "aesthetic", "least": least}], **fields}


def run(worker: Worker, name: str, *stages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    whole = {"type": "workflow", "prompt": "a cat", "steps": 2, "seed": 42, "stages": list(stages), **fields}
    return worker.run_job({"id": name, "input": whole})


@pytest.fixture(scope="module")
def scores(shared: Worker) -> list[float]:
    """The scores of the pictures of the seeds from 42 on."""
    answer = run(shared, "scores", BASE, pick(0), n_iter=4, output={"delivery": "none"})
    (judged,) = (stage["judged"] for stage in answer["stages"] if stage["name"] == "pick")
    assert [one["seed"] for one in judged] == [42, 43, 44, 45]
    return [float(one["aesthetic"]["score"]) for one in judged]


def test_only_accepted_pictures_go_on_and_each_keeps_its_seed(judging: Worker, scores: list[float]) -> None:
    least = sorted(scores)[2] - ROUNDING
    wanted = [42 + place for place, score in enumerate(scores) if score >= least]
    answer = run(judging, "two", BASE, pick(least), FINAL, n_iter=4, output={"metadata": True, "delivery": "base64"})
    assert asked(judging) == ["txt2img", *["extra-single-image"] * len(wanted)]
    assert answer["seeds"] == wanted
    base, judge, _ = answer["stages"]
    assert (base["seeds"], judge["seeds"], judge["accepted"]) == ([42, 43, 44, 45], wanted, len(wanted))
    assert [one["accepted"] for one in judge["judged"]] == [seed in wanted for seed in base["seeds"]]
    assert f"pick: {len(wanted)} of 4 pictures were accepted" in answer["warnings"]
    assert [row["metadata"]["judged"]["aesthetic"]["score"] for row in answer["pictures"]] == [
        scores[seed - 42] for seed in wanted
    ]
    assert len(answer["checks"]) == 4


def test_judged_pictures_all_go_on_where_the_stage_only_tells(judging: Worker, scores: list[float]) -> None:
    answer = run(judging, "all", BASE, pick(max(scores) + 1, keep="all"), FINAL, n_iter=2)
    assert answer["seeds"] == [42, 43]
    assert (answer["stages"][1]["accepted"], answer["warnings"]) == (0, [])


def test_where_none_is_accepted_the_stages_behind_make_nothing_and_it_is_said(judging: Worker) -> None:
    answer = run(judging, "none", BASE, pick(2), FINAL, n_iter=2)
    assert asked(judging) == ["txt2img"]
    assert (answer["images"], answer["seeds"]) == ([], [])
    assert "pick: 0 of 2 pictures were accepted" in answer["warnings"]


def test_rejected_pictures_go_into_the_store_where_the_job_says_so(judging: Worker, store: Store) -> None:
    answer = run(judging, "kept", BASE, pick(2), n_iter=2, output={"rejected": "store", "delivery": "s3"})
    keys = [one["key"] for one in answer["stages"][1]["judged"]]
    assert store.keys("pics", "kept-rejected/") == keys
    assert len(keys) == 2


def test_a_judge_that_is_not_there_is_told_before_anything_is_made(judging: Worker) -> None:
    stage = {"type": "judge", "judges": [{"name": "beauty"}], "face": {"references": "luca"}}
    answer = run(judging, "wrong", BASE, stage, {**FINAL, "upscaler": "Lanzcos"})
    found = [problem["path"] for problem in answer["details"]["problems"]]
    assert found == ["stages[1].face", "stages[2].upscaler"]
    assert asked(judging) == []


def test_a_repeat_keeps_the_choice_of_the_first_run(judging: Worker, scores: list[float]) -> None:
    least = sorted(scores)[2] - ROUNDING
    judging.fault("http-error", path="extra-single-image")
    failed = run(judging, "again", BASE, pick(least), FINAL, n_iter=4)
    assert [stage["name"] for stage in failed["details"]["stages_done"]] == ["base", "pick"]
    judging.reset()
    again = run(judging, "again", BASE, pick(least), FINAL, n_iter=4)
    assert set(asked(judging)) == {"extra-single-image"}
    assert again["seeds"] == failed["details"]["stages_done"][1]["seeds"]


def test_a_continuation_judges_each_picture_and_tells_which_it_rejected(judging: Worker, scores: list[float]) -> None:
    least = sorted(scores)[2] - ROUNDING
    run(judging, "candidates", BASE, pick(least), FINAL, n_iter=4, until="base", output={"delivery": "s3"})
    judging.reset()
    answer = judging.run_job({"id": "more", "input": {"type": "continue", "job": "candidates"}})
    status = ["made" if score >= least else "rejected" for score in scores]
    assert [part["status"] for part in answer["parts"]] == status
    assert asked(judging) == ["extra-single-image"] * status.count("made")


def test_a_first_stage_makes_pictures_until_enough_are_accepted(judging: Worker) -> None:
    accept = {"count": 4, "at_most": 8, "judges": [{"name": "aesthetic", "least": 0}]}
    fields = {"prompt": "a {red|green|blue|black|white} cat", "wildcards": True}
    mid = {"name": "mid", "type": "img2img", "denoising_strength": 0.3}
    answer = run(judging, "until", {**BASE, "accept": accept}, mid, **fields)
    first = answer["stages"][0]
    assert (first["accepted"], first["made"], first["seeds"], answer["seeds"]) == (
        4,
        4,
        [42, 43, 44, 45],
        [42, 43, 44, 45],
    )
    alone = run(judging, "alone", BASE, mid, **fields, n_iter=4)
    assert [row["prompt"] for row in answer["pictures"]] == [row["prompt"] for row in alone["pictures"]]
    assert len({row["prompt"] for row in answer["pictures"]}) > 1


def test_a_repeat_tells_what_the_judges_said_of_a_first_stage_that_was_kept(judging: Worker) -> None:
    accept = {"count": 2, "at_most": 4, "judges": [{"name": "aesthetic", "least": 0}]}
    judging.fault("http-error", path="extra-single-image")
    assert "error" in run(judging, "kept-accept", {**BASE, "accept": accept}, FINAL)
    judging.reset()
    again = run(judging, "kept-accept", {**BASE, "accept": accept}, FINAL)
    assert set(asked(judging)) == {"extra-single-image"}
    assert (again["stages"][0]["accepted"], len(again["stages"][0]["judged"]), len(again["checks"])) == (2, 2, 2)


def test_the_time_of_the_job_holds_for_its_judges(judging: Worker) -> None:
    judging.fault("slow-step", count=-1, seconds=1)
    answer = run(judging, "late", BASE, pick(0), n_iter=2, timeout_s=1)
    assert answer["error_code"] == "deadline_exceeded"


def test_accepted_pictures_are_streamed_as_the_judge_stage_lets_them_on(judging: Worker, scores: list[float]) -> None:
    pieces: list[dict[str, Any]] = []

    async def take(piece: dict[str, Any]) -> None:
        pieces.append(piece)

    stages = [BASE, pick(max(scores) - ROUNDING)]
    whole = {"type": "workflow", "prompt": "a cat", "steps": 2, "seed": 42, "n_iter": 4, "stages": stages}
    job = {"id": "told", "input": {**whole, "stream": True, "output": {"delivery": "base64"}}}
    answer = asyncio.run(judging.host.run(job, on_progress=lambda _: None, on_piece=take))
    best = 42 + scores.index(max(scores))
    assert [(piece["stage"], piece["seed"]) for piece in pieces] == [
        *(("base", seed) for seed in (42, 43, 44, 45)),
        ("pick", best),
    ]
    assert answer["streamed"] == 5
