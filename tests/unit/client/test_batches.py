from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from tests.support.gallery import png
from worker.cli.batch.batch_progress import failure_lines, rate_and_eta, summary
from worker.cli.batch.batch_report import ReportedPicture, report_page, reported_pictures
from worker.cli.batch.gallery_decisions import chosen
from worker.client import BatchFailure, BatchPlan, BatchState, EndpointError, InvalidPlan, JobFailed, JobTimedOut
from worker.client.batch.batch_answers import AnsweredPicture, read_job_answer
from worker.client.batch.batch_folder import BatchFolder, PictureRecord
from worker.client.batch.batch_items import BatchItem, batch_items, check_counts, count_items, item_key
from worker.client.batch.batch_plan import parse_plan, read_plan
from worker.client.batch.batch_queue import RESTS, UNUSABLE, AttemptQueue, classify_failure
from worker.client.batch.picture_jobs import TRIES_PER_ACCEPTED, job_to_the_end, seeds_used
from worker.contract.types.composed.acceptance import Acceptance
from worker.gallery.decisions import PictureDecision

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def seeds(plan: BatchPlan, count: int, first_seed: int = 100) -> list[int]:
    return [item.job["seed"] for item in batch_items(plan, first_seed, count)]


# plans


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".yaml", "type: workflow\nworkflow: portrait\npool: [{from: [a, b], count: [1, 2]}]"),
        (
            ".json",
            '{"input": {"type": "workflow", "workflow": "portrait", "pool": [{"from": ["a", "b"], "count": [1, 2]}]}}',
        ),
    ],
)
def test_a_job_is_a_plan(ending: str, text: str) -> None:
    plan = parse_plan(text, ending)
    assert plan.jobs == [{"type": "workflow", "workflow": "portrait", "pool": [{"from": ["a", "b"], "count": [1, 2]}]}]
    assert not plan.is_table


def test_the_columns_of_a_table_are_fields_and_empty_cells_are_left_out() -> None:
    text = 'prompt,steps,loras,seed\n"a cat, sitting",20,"[{""name"": ""film"", ""scale"": 0.5}]",7\n"[a|b]",,,\n\n'
    plan = parse_plan(text, ".csv")
    assert plan.is_table
    assert plan.jobs == [
        {"prompt": "a cat, sitting", "steps": "20", "loras": [{"name": "film", "scale": 0.5}], "seed": "7"},
        {"prompt": "[a|b]"},
    ]


def test_every_line_of_json_lines_is_a_job() -> None:
    assert parse_plan('{"prompt": "a"}\n\n{"prompt": "b\u2028"}\n', ".jsonl").jobs == [
        {"prompt": "a"},
        {"prompt": "b\u2028"},
    ]


@pytest.mark.parametrize(
    ("ending", "text", "said"),
    [
        (".txt", "a cat", "must end in one of .yaml"),
        (".yaml", "a: [", "is not YAML"),
        (".yaml", "", "must be a job"),
        (".yaml", "prompt: a\nloras: [{made: 2026-01-01}]", "loras.0.made is read as a date: put it into quotes"),
        (".yaml", "cfg_scale: .nan", "cfg_scale must be a finite number, not nan"),
        (".json", "[" * 100_000, "nested too deeply"),
        (".csv", "prompt;steps\na;4\n", "separated by commas"),
        (".csv", "prompt\tsteps\na\t4\n", "separated by commas"),
        (".json", '{"prompt": }', "line 1, column 12"),
        (".json", "[]", "has no jobs"),
        (".json", '[{"prompt": "a"}, 3]', "job 2 must be a job"),
        (".json", '{"type": "models.list"}', "type must be one of txt2img"),
        (".csv", "prompt,steps\na,1,2\n", "line 2: it must have 2 cells"),
        (".csv", "prompt,steps\na\n", "line 2: it must have 2 cells"),
        (".csv", "prompt,prompt\na,b\n", "each once"),
        (".csv", "", "must name the columns"),
        (".csv", "prompt,loras\na,[film]\n", "line 2, loras: a list or an object must be JSON"),
        (".jsonl", '{"prompt": "a"}\n{', "line 2 is not JSON"),
        (".jsonl", '{"prompt": "a"}\n{"seed": 1, "seed": 2}', "line 2: 'seed' is given twice"),
        (".json", '{"seed": 1, "seed": 2}', "'seed' is given twice"),
        (".yaml", "seed: 1\nseed: 2", "'seed' is given twice"),
    ],
)
def test_a_plan_that_is_none_is_refused_with_the_place_and_the_reason(ending: str, text: str, said: str) -> None:
    with pytest.raises(InvalidPlan, match=said.replace(".", r"\.").replace("[", r"\[")):
        parse_plan(text, ending, "the file")


def test_a_plan_that_is_no_text_or_no_file_is_told_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\x00\xff")
    for name, said in (("a.yaml", "no text in UTF-8"), (".", "Is a directory"), ("b.yaml", "No such file")):
        with pytest.raises(InvalidPlan, match=said) as caught:
            read_plan(tmp_path / name)
        assert "Errno" not in str(caught.value)


def test_only_workflows_end_after_a_stage() -> None:
    plan = BatchPlan([{"type": "workflow", "workflow": "portrait"}]).until("base")
    assert plan.jobs[0]["until"] == "base"
    with pytest.raises(InvalidPlan, match="job 1 has no stages"):
        BatchPlan([{"prompt": "a"}]).until("base")


# jobs


def test_a_job_made_several_times_has_consecutive_seeds() -> None:
    assert seeds(BatchPlan([{"prompt": "a"}]), 3) == [100, 101, 102]
    assert seeds(BatchPlan([{"prompt": "a", "seed": "7"}]), 2) == [7, 8]
    assert seeds(BatchPlan([{"prompt": "a", "seed": -1}]), 2) == [100, 101]
    assert seeds(BatchPlan([{"prompt": "a", "seed": 2**32 - 1}]), 2) == [2**32 - 1, 0]
    assert seeds(BatchPlan([{"prompt": "a", "seed": 7, "n_iter": 2, "batch_size": "3"}]), 3) == [7, 13, 19]


@pytest.mark.parametrize(
    ("job", "wanted"),
    [
        ({"accept": {"count": 3}}, [7, 19, 31]),
        ({"accept": {"count": "3", "at_most": 5}}, [7, 12, 17]),
        ({"accept": {"quality": {}}, "batch_size": 6}, [7, 13, 19]),
        ({"init_images": ["a", "b"], "n_iter": 2}, [7, 11, 15]),
        ({"stages": [{"name": "base", "n_iter": 4}, {"n_iter": 9}]}, [7, 11, 15]),
        ({"stages": [{"accept": {"count": 1}}]}, [7, 11, 15]),
        ({"stages": [{"seed": 9}]}, [9, 10, 11]),
        ({"n_iter": {}, "batch_size": "--5", "accept": []}, [7, 8, 9]),
    ],
)
def test_no_two_copies_of_a_job_use_the_same_seed(job: dict[str, Any], wanted: list[int]) -> None:
    assert seeds(BatchPlan([{"prompt": "a", "seed": 7, **job}]), 3) == wanted


def test_a_job_of_several_prompts_is_a_job_for_each() -> None:
    prompts = ["a", {"prompt": "b", "steps": 4}]
    for job in ({"prompts": prompts}, {"type": "workflow", "prompt": "z", "stages": [{"prompts": prompts}]}):
        first, second = (item.job for item in batch_items(BatchPlan([job]), 7, 1))
        assert (first["prompt"], first["seed"]) == ("a", 7)
        assert (second["prompt"], second["steps"], second["seed"]) == ("b", 4, 7)


@pytest.mark.parametrize(
    "fields",
    [
        {"n_iter": 4},
        {"batch_size": 2},
        {"seeds": [1, 2]},
        {"accept": {"count": 2}},
        {"stages": [{"name": "base", "n_iter": 4}]},
        {"stages": [{"name": "base", "accept": {"count": 2}}]},
    ],
)
def test_one_of_several_pictures_is_finished_by_a_job_of_its_own(fields: dict[str, Any]) -> None:
    finishing = job_to_the_end({"type": "workflow", "prompt": "a", "until": "base", **fields}, 9)
    assert finishing is not None
    assert (seeds_used(finishing), finishing["seed"]) == (1, 9)
    assert "accept" not in json.dumps(finishing)
    assert "until" not in finishing


def test_which_of_several_pictures_is_not_guessed() -> None:
    assert job_to_the_end({"until": "base", "init_images": ["a", "b"]}, 9) is None
    assert job_to_the_end({"until": "base", "prompts": ["a", "b"]}, 9) is None
    assert job_to_the_end({"until": "base", "n_iter": 2}, None) is None
    assert job_to_the_end({"prompt": "a"}, 9) is None


def test_a_job_of_one_picture_keeps_its_seed_whatever_a_stage_adds_to_it() -> None:
    assert job_to_the_end({"prompt": "a", "until": "mid", "seed": 7}, 1007) == {"prompt": "a", "seed": 7}


def test_the_pictures_of_an_acceptance_count_as_the_worker_counts_them() -> None:
    assert Acceptance(count=3).most == 3 * TRIES_PER_ACCEPTED


def test_very_many_jobs_are_counted_at_once() -> None:
    assert count_items(BatchPlan([{"prompts": ["a", "b"]}]), 0, 2**32) == 2**33
    assert count_items(BatchPlan([{"prompt": "a"}, {"prompt": "a"}, {"prompt": "b"}], is_table=True), 0, 2) == 4
    with pytest.raises(InvalidPlan, match="once for each seed"):
        check_counts(BatchPlan([{"prompt": "a"}]), 2**32 + 1)


def test_rows_put_into_a_table_leave_the_pictures_of_the_others_as_they_are() -> None:
    rows = [{"prompt": "a"}, {"prompt": "b"}]
    before = {item.key for item in batch_items(BatchPlan(rows, is_table=True), 100, 2)}
    after = {item.key for item in batch_items(BatchPlan([{"prompt": "new"}, *rows], is_table=True), 100, 2)}
    assert before < after
    assert len(after) == 6


@given(st.lists(st.dictionaries(st.sampled_from(["prompt", "steps"]), st.text(max_size=5), min_size=1), max_size=8))
def test_the_same_plan_gives_the_same_jobs_each_once(rows: list[dict[str, Any]]) -> None:
    plan = BatchPlan(rows, is_table=True)
    once, again = ([item.key for item in batch_items(plan, 5, 3)] for _ in range(2))
    assert once == again
    assert len(set(once)) == len(once)


def test_delivery_is_no_part_of_what_a_job_is() -> None:
    assert item_key({"prompt": "a", "output": {"format": "png"}}) == item_key({"prompt": "a"})
    assert item_key({"prompt": "a"}) != item_key({"prompt": "b"})
    assert item_key({"prompt": "a"}, "stage1/x.png") != item_key({"prompt": "a"})


def test_a_row_that_is_refused_is_left_out_and_an_endless_plan_without_rows_ends() -> None:
    refused = set[int]()
    items = batch_items(BatchPlan([{"prompt": "a"}, {"prompt": "b"}], is_table=True), 0, None, refused.__contains__)
    assert [item.row for item in itertools.islice(items, 3)] == [0, 1, 0]
    refused.add(1)
    assert [item.row for item in itertools.islice(items, 2)] == [0, 0]
    refused.add(0)
    assert list(items) == []


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"prompt": "a", "seeds": [1, 2]}, "only once"),
        ({"type": "upscale", "image": "x"}, "only once"),
        ({"prompt": "a", "seed": "seven"}, "seed must be"),
        ({"prompt": "a", "seed": "--5"}, "seed must be"),
        ({"prompt": "a", "seed": 2**32}, "from 0 to 4294967295"),
        ({"stages": [{"seeds": [1, 2]}]}, "only once"),
        ({"prompts": [{"prompt": "a", "seed": True}]}, "seed must be"),
        ({"until": "base", "stages": {"base": {"n_iter": 4}}}, r"stages\.base\.n_iter belongs at the top"),
        ({"until": "base", "stages": {"base": {"seed": 4}}}, r"stages\.base\.seed belongs at the top"),
    ],
)
def test_jobs_that_can_t_be_repeated_are_refused(job: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidPlan, match=said):
        check_counts(BatchPlan([job]), 2)


# answers and failures


def test_pictures_of_an_answer_have_their_own_facts() -> None:
    answer = {
        "images": ["A", "B"],
        "seeds": [1, 2],
        "keys": ["k/1", "k/2"],
        "pictures": [
            {"prompt": "red", "metadata": {"negative_prompt": "blurry", "job": {"prompt": "red"}}},
            {"prompt": "blue"},
        ],
        "judged": [{"seed": 3, "accepted": False}, {"seed": 2, "accepted": True, "face": {"similarity": 0.7}}],
        "stages": [{"name": "base", "images": ["a", "b"]}, {"name": "mid"}],
    }
    read = read_job_answer(answer, {"until": "mid"})
    first, second = read.pictures
    assert (first.seed, first.stage, first.intermediates) == (1, "mid", [("base", "a")])
    assert first.facts == {"key": "k/1", "prompt": "red", "negative_prompt": "blurry", "plain_job": {"prompt": "red"}}
    assert second.facts["judged"]["face"] == {"similarity": 0.7}
    assert len(read.judged) == 2


def test_a_picture_s_job_has_the_seed_without_what_its_stage_adds() -> None:
    base, judged = {"name": "base", "seed_offset": 5}, {"name": "good", "type": "judge"}
    stages = [base, {"name": "mid", "seed_offset": 1000}, judged, {"name": "final", "skipped": True}]
    answer = {"images": ["A"], "seeds": [1007], "stages": stages, "judged": [{"seed": 7, "accepted": True}]}
    (picture,) = read_job_answer(answer, {"until": "good"}).pictures
    assert (picture.seed, picture.job_seed, picture.facts["judged"]["accepted"]) == (1007, 7, True)


def test_a_candidate_that_a_judge_stage_rejects_is_no_failure() -> None:
    stages = [{"name": "good", "type": "judge", "judged": [{"seed": 7, "accepted": False}]}]
    answer = {"images": [], "parts": [{"key": "a.png", "status": "rejected", "seeds": [], "stages": stages}]}
    read = read_job_answer(answer, {"type": "continue", "keys": ["a.png"]})
    assert (read.pictures, read.errors, read.judged) == ([], [], [{"seed": 7, "accepted": False}])


def test_a_continuation_whose_final_is_in_the_store_is_skipped() -> None:
    job = {"type": "continue", "keys": ["k"]}
    assert read_job_answer({"parts": [{"key": "k", "status": "skipped"}]}, job).is_skipped
    made = read_job_answer({"parts": [{"key": "k", "status": "made", "images": ["A"], "seeds": [4]}]}, job)
    assert ([one.seed for one in made.pictures], made.is_skipped) == ([4], False)
    failed = read_job_answer({"parts": [{"key": "k", "status": "failed", "error": {"error": "no memory"}}]}, job)
    assert (failed.pictures, failed.errors) == ([], ["no memory"])


@pytest.mark.parametrize(
    ("error", "was_sent", "again", "refused", "endpoint"),
    [
        (JobFailed("", {"error_code": "out_of_memory", "fault": "worker", "retryable": True}), True, True, False, ""),
        (JobFailed("", {"error_code": "model_not_found", "fault": "client"}), True, False, False, ""),
        (JobFailed("", {"error_code": "invalid_input", "fault": "client"}), True, False, True, ""),
        (JobFailed("the platform failed it", {}), True, True, False, ""),
        (JobTimedOut("", "1"), True, True, False, ""),
        (EndpointError("", 401), False, False, False, UNUSABLE),
        (EndpointError("", 404), False, False, False, UNUSABLE),
        (EndpointError("", 404), True, True, False, ""),
        (EndpointError("", 413), False, False, False, ""),
        (EndpointError("", 0), False, False, False, RESTS),
        (EndpointError("", 503), True, False, False, RESTS),
        (requests.ConnectionError(), True, True, False, ""),
        (ValueError("no pictures"), True, False, False, ""),
    ],
)
def test_what_follows_from_a_failure(
    error: Exception, *, was_sent: bool, again: bool, refused: bool, endpoint: str
) -> None:
    failure = classify_failure(error, was_sent=was_sent)
    assert (failure.is_worth_another, failure.is_refused, failure.endpoint) == (again, refused, endpoint)


def test_a_job_that_is_put_back_comes_again_and_the_line_ends_when_all_are_over() -> None:
    now = [0.0]

    def items() -> Iterator[BatchItem]:
        yield from (BatchItem(key, 0, {}) for key in "ab")

    queue = AttemptQueue(items(), lambda: now[0])
    first, second = queue.take(), queue.take()
    assert first is not None
    assert second is not None
    queue.put_back(first, after_s=5, counts=True)
    queue.settle()
    now[0] = 5
    again = queue.take()
    assert again is not None
    assert (again.item.key, again.number) == ("a", 2)
    queue.put_back(again, after_s=0, counts=False)
    last = queue.take()
    assert last is not None
    assert last.number == 2
    queue.settle()
    assert queue.take() is None


# what a person sees


def test_the_rate_counts_the_jobs_of_this_run_alone() -> None:
    state = BatchState(jobs=40, there=20, done=10)
    assert rate_and_eta(state, 60) == "10.0/min, 1:00 left"
    assert rate_and_eta(BatchState(jobs=None, done=10), 60) == "10.0/min"
    assert rate_and_eta(BatchState(jobs=40), 60) == ""


def test_the_summary_tells_the_cost_and_each_failure() -> None:
    failure = BatchFailure({"prompt": "a cat", "seed": 7}, "no memory")
    state = BatchState(
        jobs=3, there=1, done=1, pictures=("final/x.png",), failures=(failure,), job_s=36, ended_by="full"
    )
    assert summary(state, 2.0) == "pictures made: 1, jobs already done: 1, failed: 1, job time: 36 s, $0.020"
    assert failure_lines(state) == ["failed: seed 7: a cat: no memory", "ended early: full"]


def test_picked_candidates_are_finished_and_without_picks_all_that_are_not_rejected() -> None:
    names = ["stage1/a.png", "stage1/b.png", "stage1/c.png"]
    reject, pick = PictureDecision(flag="reject"), PictureDecision(flag="pick")
    assert chosen(names, {}) == names
    assert chosen(names, {names[0]: reject}) == names[1:]
    assert chosen(names, {names[0]: reject, names[1]: pick}) == [names[1]]
    assert chosen(names[:1], {names[1]: pick}) == []


def test_no_picture_takes_another_one_s_place_when_the_clock_is_set_back(tmp_path: Path) -> None:
    noon = datetime(2026, 2, 7, 12, tzinfo=timezone.utc)
    names = list[str]()
    for prompt, now in (("a", noon), ("b", noon), ("c", noon - timedelta(hours=1)), ("d", noon)):
        folder = BatchFolder(tmp_path)  # of a run of its own, which knows what is there from the folder alone
        item = BatchItem(item_key({"prompt": prompt}), 0, {"prompt": prompt, "until": "base"}, None)
        name = folder.keep(item, AnsweredPicture("", 7, "base"), [png(len(names))], now)
        assert name is not None
        names.append(name)
        (tmp_path / names[0]).unlink(missing_ok=True)  # rejected: its name stays its own
    assert [name.partition("/")[2] for name in names] == [
        "20260207-120000_s7_base_96x128.png",
        "20260207-120000_s7_base_96x128-2.png",
        "20260207-110000_s7_base_96x128.png",
        "20260207-120000_s7_base_96x128-3.png",
    ]
    told = {record.document["job"]["prompt"]: record.picture for record in folder.records()}
    assert told == dict(zip("abcd", names, strict=True))


def record(stem: str, **document: Any) -> PictureRecord:
    return PictureRecord(stem, {"picture": f"stage1/{stem}.png", **document})


def test_a_picture_that_the_gallery_made_with_the_next_seed_is_not_made_again(tmp_path: Path) -> None:
    job = {"type": "workflow", "prompt": "a", "until": "base", "seed": 8}
    folder = BatchFolder(tmp_path)
    (tmp_path / "stage1" / "a-8.png").write_bytes(png(8))
    (tmp_path / "stage1" / "a-8.json").write_text(json.dumps({"seed": 8, "job": job}))
    plan = BatchPlan([{**job, "seed": 7}])
    made = folder.made()
    assert [item.job["seed"] for item in batch_items(plan, 0, 3) if item.key not in made] == [7, 9]


def test_pictures_that_the_gallery_made_are_finished_and_reported_with_the_others(tmp_path: Path) -> None:
    folder = BatchFolder(tmp_path)
    job = {"type": "workflow", "workflow": "portrait", "until": "base", "seed": 7}
    for name, told in (
        ("stage1/again", {"job": job, "seed": 7}),
        ("stage1/old", {"job": job, "seed": 8}),
        ("final/old", {"source": "stage1/old.png"}),
    ):
        (tmp_path / f"{name}.png").write_bytes(png(1))
        (tmp_path / f"{name}.json").write_text(json.dumps(told))
    assert folder.candidates() == ["stage1/again.png"]
    item = folder.finishing("stage1/again.png")
    assert item is not None
    assert item.job == {"type": "workflow", "workflow": "portrait", "seed": 7}
    there = {f"{name}.png": True for name in ("stage1/again", "stage1/old", "final/old")}
    pictures = reported_pictures(folder.records(), there, {})
    assert [one.name for one in pictures] == ["stage1/again.png", "stage1/old.png", "final/old.png"]


def test_the_report_counts_deleted_rejected_and_judged_pictures() -> None:
    judged = [{"seed": 9, "accepted": False, "why": "no face"}, {"seed": 1, "accepted": True}]
    records = [record("a", judged=judged[1], batch={"judged": judged}), record("b"), record("c")]
    there = {"stage1/a.png": True, "stage1/b.png": False, "stage1/c.png": True}
    told = reported_pictures(records, there, {"stage1/c.png": PictureDecision(flag="reject")})
    assert [(one.name, one.why_rejected) for one in told] == [
        ("stage1/a.png", ""),
        ("a, seed 9", "no face"),
        ("stage1/b.png", "deleted"),
        ("stage1/c.png", "rejected in the gallery"),
    ]


def test_the_report_loads_nothing_and_shows_strangers_words_as_text() -> None:
    hostile = "<script>alert(1)</script>"
    picture = ReportedPicture(
        f"stage1/{hostile}.png", {"prompt": hostile, "judged": {"face": {"similarity": 0.7}}}, "", is_there=True
    )
    page = report_page(hostile, [picture], {picture.name: b"webp"})
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "0.70 to 0.75: 1" in page
    assert "data:image/webp;base64,d2VicA==" in page
