"""The adapter under the real SDK and a loopback job source; the jobs of `echo_worker` say what is to happen."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.jobsource import JobSource
from tests.support.pace import stretched
from tests.support.workerproc import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.jobsource import Posting

PROGRAM = ["-m", "tests.support.echo_worker"]


@contextmanager
def echo_worker(source: JobSource, folder: Path, **environment: str) -> Iterator[WorkerProcess]:
    settings = {**source.worker_env(), **environment}
    with WorkerProcess(PROGRAM, settings, folder, on_exit=source.worker_ended) as worker:
        yield worker


@pytest.fixture
def source() -> Iterator[JobSource]:
    with JobSource() as source:
        yield source


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[JobSource, WorkerProcess]]:
    """One worker of two places for the tests that leave it whole; the SDK alone takes two seconds to import."""
    folder = tmp_path_factory.mktemp("shared")
    with JobSource() as source, echo_worker(source, folder, MAX_OUTPUT_BYTES="100000", CONCURRENCY="2") as worker:
        yield source, worker


def test_answers_come_back_with_everything_the_platform_put_into_the_job(
    shared: tuple[JobSource, WorkerProcess],
) -> None:
    source, _ = shared
    job = source.offer({"input": {"echo": "grüße"}, "s3Config": {"bucketName": "b"}, "policy": {"ttl": 1}})
    output = source.wait_result(job).output
    assert output["echo"] == "grüße"
    assert {"id", "input", "s3Config", "policy"} <= set(output["keys"])


def test_what_is_not_strict_json_is_answered_with_an_error_and_the_worker_goes_on(
    shared: tuple[JobSource, WorkerProcess],
) -> None:
    source, _ = shared
    bad = {name: source.offer(**{name: True}) for name in ("nan", "surrogate", "raw_bytes")}
    raising = source.offer(raises="secret /path/to/code.py")
    large = source.offer(bytes=100_000)
    good = source.offer(echo=1)
    for name, job in bad.items():
        error = source.wait_result(job).error
        assert error is not None
        assert error.startswith("internal_error: the answer is not strict JSON: answer."), name
    assert source.wait_result(raising).error == "internal_error: a defect in the worker; its log has the details"
    answer = source.wait_result(large)
    assert answer.error is not None
    assert answer.error.startswith("output_too_large")
    assert answer.output["details"]["limit"] == 100_000
    assert source.wait_result(good).error is None
    assert source.events("refused") == []
    assert b"Traceback" not in b"".join(source.wait_result(job).raw for job in (raising, *bad.values()))


def test_an_error_answer_is_a_string_for_the_platform(shared: tuple[JobSource, WorkerProcess]) -> None:
    source, _ = shared
    result = source.wait_result(source.offer(error="the WebUI ended"))
    assert result.error == "webui_crashed: the WebUI ended"
    assert result.output["error_code"] == "webui_crashed"


def test_while_one_job_uploads_the_next_has_the_gpu(shared: tuple[JobSource, WorkerProcess]) -> None:
    source, worker = shared
    first, second = source.offer(sleep=0.2, after=1.0), source.offer(sleep=0.2)
    source.wait_result(second)
    assert worker.wait_line(f"@ begins {second}") >= worker.wait_line(f"@ ends {first}")
    done = source.wait_result(first)
    assert source.wait_result(second).at < done.at


def test_the_next_job_is_taken_when_a_place_gets_free_not_a_second_later(source: JobSource, tmp_path: Path) -> None:
    with echo_worker(source, tmp_path, CONCURRENCY="1"):
        jobs = [source.offer(sleep=0.05) for _ in range(12)]
        for job in jobs:
            source.wait_result(job)
    taken = [event.at for event in source.events("taken")]
    done = [event.at for event in source.events("done")]
    gaps = [take - end for take, end in zip(taken[1:], done, strict=False)]
    assert all(gap >= 0 for gap in gaps), "one place, so no job is taken before the last is posted"
    assert sum(gap < 0.5 for gap in gaps) >= 10, "the SDK alone sleeps for a second whenever its queue is full"


def test_no_more_jobs_are_taken_than_there_are_places(shared: tuple[JobSource, WorkerProcess]) -> None:
    source, _ = shared
    jobs = [source.offer(sleep=0.1) for _ in range(8)]
    for job in jobs:
        source.wait_result(job)
    held = 0
    for event in source.events():
        held += {"taken": 1, "done": -1}.get(event.kind, 0) if event.job_id in jobs else 0
        assert 0 <= held <= 2


def test_a_cancelled_job_keeps_its_place_until_the_gpu_is_idle(shared: tuple[JobSource, WorkerProcess]) -> None:
    source, worker = shared
    cancelled, following = source.offer(sleep=60, stubborn=0.5), source.offer(echo="next")
    worker.wait_line(f"@ begins {cancelled}")
    source.cancel(cancelled)
    assert source.wait_result(following).output["echo"] == "next"
    assert worker.wait_line(f"@ begins {following}") >= worker.wait_line(f"@ idle {cancelled}")
    assert source.events("done", cancelled) == []


def test_progress_rises_is_not_told_too_often_and_ends_before_the_result(
    shared: tuple[JobSource, WorkerProcess],
) -> None:
    source, _ = shared
    job = source.offer(progress=120, after=0.1)
    done = source.wait_result(job).at
    later = source.offer(echo="later")
    source.wait_result(later)
    told = source.events("progress", job)
    percents = [event.data["percent"] for event in told]
    assert 2 <= len(told) <= 5
    assert percents == sorted(percents)
    assert all(event.at < done for event in told)


def test_pieces_are_streamed_in_order_before_the_result_which_is_no_list(
    shared: tuple[JobSource, WorkerProcess],
) -> None:
    source, _ = shared
    plain, job = source.offer(echo="plain"), source.offer(pieces=5, echo="whole")
    result = source.wait_result(job)
    told = source.events("stream", job)
    assert [event.data["output"]["index"] for event in told] == [0, 1, 2, 3, 4]
    assert all(event.at < result.at for event in told)
    assert (result.output["echo"], result.is_stream) == ("whole", True)
    assert source.wait_result(plain).is_stream is False


def test_sigterm_finishes_and_posts_what_runs_then_exits_0(source: JobSource, tmp_path: Path) -> None:
    with JobSource(hold_s=30) as patient, echo_worker(patient, tmp_path) as worker:
        running, waiting = patient.offer(sleep=1.0), patient.offer(sleep=0.2)
        worker.wait_line(f"@ begins {running}")
        worker.wait_line(f"@ waits {waiting}")
        worker.terminate()
        worker.wait_line("stopping")
        late = patient.offer(echo="late")
        assert patient.wait_result(running).error is None
        finished = patient.wait_result(waiting).at
        assert worker.wait() == 0
        assert time.monotonic() - finished < stretched(5), "the open long polls are not waited for"
        worker.assert_nothing_left()
        assert patient.events("taken", late) == [], "nothing is taken after SIGTERM"
        assert patient.waiting() == 1


def test_an_idle_worker_ends_at_once_on_sigterm(source: JobSource, tmp_path: Path) -> None:
    with JobSource(hold_s=30) as patient, echo_worker(patient, tmp_path) as worker:
        patient.wait_event("take")
        asked = time.monotonic()
        worker.terminate()
        assert worker.wait() == 0
        assert time.monotonic() - asked < stretched(5)
        worker.assert_nothing_left()


def test_a_cancel_is_heard_while_the_worker_drains(source: JobSource, tmp_path: Path) -> None:
    job = source.offer(sleep=60)
    with echo_worker(source, tmp_path) as worker:
        worker.wait_line(f"@ begins {job}")
        worker.terminate()
        worker.wait_line("stopping")
        source.wait_event("take")
        source.cancel(job)
        assert worker.wait() == 0
        assert f"@ idle {job}" in worker.log


def test_a_job_that_is_on_its_way_at_sigterm_is_run(tmp_path: Path) -> None:
    with JobSource(hold_s=30) as source, echo_worker(source, tmp_path) as worker:
        source.wait_event("take")
        worker.terminate()
        job = source.offer(echo="on the doorstep")
        assert source.wait_result(job).output["echo"] == "on the doorstep"
        assert worker.wait() == 0


def test_a_killed_worker_leaves_no_pings_behind(source: JobSource, tmp_path: Path) -> None:
    job = source.offer(sleep=60)
    with echo_worker(source, tmp_path) as worker:
        worker.wait_line(f"@ begins {job}")
        source.wait_event("ping", after=source.wait_event("taken", job).at)
        worker.kill()
        assert worker.wait() == -9
        worker.assert_nothing_left()


def test_when_the_webui_is_gone_the_worker_ends_with_a_failure(source: JobSource, tmp_path: Path) -> None:
    with JobSource(hold_s=30) as patient, echo_worker(patient, tmp_path) as worker:
        done = patient.wait_result(patient.offer(die=True)).at
        assert worker.wait() == 1
        assert time.monotonic() - done < stretched(3)
        assert "killed by SIGKILL" in worker.log
        worker.assert_nothing_left()


def test_pings_name_the_running_job(shared: tuple[JobSource, WorkerProcess]) -> None:
    source, _ = shared
    job = source.offer(sleep=2.5)
    began = source.wait_event("taken", job).at
    assert source.wait_event("ping", after=began + 1.2).data["job_id"] == job


def test_refused_takes_are_survived(shared: tuple[JobSource, WorkerProcess]) -> None:
    source, _ = shared
    source.spoil_takes(400, 500, 204)
    for number in range(5):  # the first is taken by the poll that is already open
        assert source.wait_result(source.offer(echo=number)).output["echo"] == number


@pytest.mark.parametrize("how", ["error", "drop", "reset"])
def test_a_result_is_posted_again_when_the_platform_fails(
    shared: tuple[JobSource, WorkerProcess], how: Posting
) -> None:
    source, _ = shared
    source.spoil_postings(how)
    job = source.offer(echo="posted again")
    assert source.wait_result(job).output["echo"] == "posted again"
    assert [event.data for event in source.events("failed", job)] == [how]


@pytest.mark.slow
def test_a_result_outlives_a_platform_that_fails_longer_than_the_sdk_is_patient(
    shared: tuple[JobSource, WorkerProcess],
) -> None:
    source, _ = shared
    source.spoil_postings("error", "error", "error", "error", "drop")
    assert source.wait_result(source.offer(echo="at last"), timeout=60).output["echo"] == "at last"


def test_a_result_that_the_platform_refuses_is_lost_and_the_worker_goes_on(
    shared: tuple[JobSource, WorkerProcess],
) -> None:
    source, _ = shared
    source.spoil_postings("refuse")
    lost = source.offer(echo="lost")
    source.wait_event("failed", lost)
    assert source.wait_result(source.offer(echo="next")).output["echo"] == "next"
    assert source.events("done", lost) == []


def test_a_job_that_is_handed_out_twice_is_run_once(shared: tuple[JobSource, WorkerProcess]) -> None:
    source, worker = shared
    job = source.offer(sleep=0.5)
    worker.wait_line(f"@ begins {job}")
    source.offer({"id": job, "input": {"sleep": 0.5}})
    source.wait_event("taken", job, count=2)
    source.wait_result(job)
    source.wait_result(source.offer(echo="after"))
    assert worker.log.count(f"@ begins {job}") == 1
    assert len(source.events("done", job)) == 1


def test_a_source_that_answers_at_once_is_not_hammered(tmp_path: Path) -> None:
    with JobSource(hold_s=0) as source, echo_worker(source, tmp_path):
        begin = source.wait_event("take").at
        time.sleep(1.0)  # the second in which the questions are counted
        asked = sum(event.at <= begin + 1.0 for event in source.events("take"))
    assert asked <= 12


def test_local_mode_runs_test_input_json_and_leaves_the_answer(tmp_path: Path) -> None:
    (tmp_path / "test_input.json").write_text(json.dumps({"input": {"echo": "local"}}))
    with WorkerProcess(PROGRAM, {}, tmp_path) as worker:
        assert worker.wait() == 0
    answer = json.loads((tmp_path / "out" / "answer.json").read_text())
    assert answer["echo"] == "local"


def test_local_mode_exits_1_when_the_job_fails(tmp_path: Path) -> None:
    with WorkerProcess([*PROGRAM, "--test_input", json.dumps({"input": {"error": "no"}})], {}, tmp_path) as worker:
        assert worker.wait() == 1
    answer = json.loads((tmp_path / "out" / "answer.json").read_text())
    assert answer["error"] == "webui_crashed: no"
