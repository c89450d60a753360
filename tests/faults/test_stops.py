"""The worker is stopped or killed, and its WebUI frozen, at the worst moments: boot, recovery, delivery, posting."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests

from tests.support.jobsource import JobSource
from tests.support.pace import stretched
from tests.support.rig import SMALL, Rig, pixels
from tests.support.servers.fake_s3 import fake_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.jobsource import Posting
    from tests.support.loopback_http import Reply, Request

SLOW_START = {"STANDIN_IMPORT_SECONDS": "30"}


@pytest.fixture
def source() -> Iterator[JobSource]:
    with JobSource(hold_s=1.0) as source:
        yield source


def spawned(rig: Rig, count: int = 1) -> psutil.Process:
    """Return the WebUI's process as soon as the `count`-th one runs, long before it listens."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        lines = [line for line in rig.worker.log.splitlines() if '"event":"spawned"' in line]
        if len(lines) >= count:
            process = psutil.Process(json.loads(lines[count - 1])["pid"])
            with contextlib.suppress(psutil.ZombieProcess):  # it is not itself yet
                if any(part.endswith("launch.py") for part in process.cmdline()):
                    return process
        time.sleep(0.01)  # another process's start wakes nobody here
    raise AssertionError(f"no WebUI was spawned:\n{rig.worker.log}")


def is_gone(process: psutil.Process) -> bool:
    """Return whether a process has ended, though nobody may have taken note."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def assert_ends_well(rig: Rig, within: float) -> None:
    asked = time.monotonic()
    assert rig.worker.wait() == 0
    assert rig.worker.exited_at() - asked < within
    rig.worker.assert_nothing_left()


# SIGTERM


def test_stopped_while_it_boots_it_ends_at_once_and_takes_no_job(tmp_path: Path, source: JobSource) -> None:
    with Rig(tmp_path, source, **SLOW_START) as rig:
        waiting = rig.offer()
        webui = spawned(rig)
        rig.worker.terminate()
        assert_ends_well(rig, within=5)
        assert is_gone(webui)
        assert source.events("taken", waiting) == []


@pytest.mark.slow
def test_stopped_while_its_webui_is_restarted_it_ends_without_waiting_for_it(tmp_path: Path, source: JobSource) -> None:
    with Rig(tmp_path, source, STANDIN_IMPORT_SECONDS="3") as rig:
        rig.run()
        rig.webui().kill()
        restarted = spawned(rig, 2)
        rig.worker.terminate()
        assert_ends_well(rig, within=2.5)
        assert is_gone(restarted)


def test_a_job_whose_webui_is_being_restarted_is_finished_after_the_stop(tmp_path: Path, source: JobSource) -> None:
    with Rig(tmp_path, source, STANDIN_IMPORT_SECONDS="1") as rig:
        right = pixels(rig.run()["images"][0])
        rig.fault("die", step=2)
        job = rig.offer()
        spawned(rig, 2)
        rig.worker.terminate()
        rig.worker.wait_line('"state":"draining"')
        assert pixels(rig.answer(job)["images"][0]) == right
        assert_ends_well(rig, within=10)


@pytest.mark.slow
def test_a_job_whose_webui_does_not_come_back_in_the_grace_is_handed_back(tmp_path: Path, source: JobSource) -> None:
    with Rig(tmp_path, source, STANDIN_IMPORT_SECONDS="3", STOP_GRACE_S="0.5") as rig:
        rig.run()
        rig.fault("die", step=2)
        job = rig.offer()
        spawned(rig, 2)
        rig.worker.terminate()
        answer = rig.answer(job)
        assert (answer["error_code"], answer["retryable"]) == ("worker_stopping", True)
        assert_ends_well(rig, within=5)


def test_a_job_whose_pictures_are_on_their_way_is_delivered_after_the_stop(tmp_path: Path, source: JobSource) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(request: Request, _number: int) -> Reply | None:
        if request.method == "PUT":
            begun.set()
            assert go_on.wait(30)
        return None

    with fake_store(slow) as store:
        bucket = {"BUCKET_NAME": "pics", "BUCKET_ACCESS_KEY_ID": "key", "BUCKET_SECRET_ACCESS_KEY": "secret"}
        with Rig(tmp_path, source, BUCKET_ENDPOINT_URL=store.server.url, **bucket) as rig:
            job = rig.offer(output={"delivery": "s3"})
            assert begun.wait(30)
            waiting = rig.offer(seed=9)
            rig.worker.terminate()
            rig.worker.wait_line('"state":"draining"')
            go_on.set()
            (link,) = rig.answer(job)["images"]
            assert requests.get(link, timeout=10).status_code == 200
            assert_ends_well(rig, within=10)
            taken = {event.job_id for event in source.events("taken")}
            done = {event.job_id for event in source.events("done")}
            assert taken == done, "a job that was taken is answered"
            assert waiting in done or source.waiting() == 1


# A frozen WebUI


@pytest.mark.slow
def test_a_webui_frozen_while_the_worker_boots_ends_it_at_the_deadline(tmp_path: Path, source: JobSource) -> None:
    with Rig(tmp_path, source, **SLOW_START, BOOT_TIMEOUT_S="2") as rig:
        began = time.monotonic()
        webui = spawned(rig)
        webui.suspend()
        assert rig.worker.wait(20) == 1
        assert rig.worker.exited_at() - began < stretched(5)
        (end,) = [json.loads(line) for line in rig.worker.log.splitlines() if "can't start" in line]
        assert end["code"] == "webui_boot_failed"
        assert "boot deadline" in end["error"]
        assert is_gone(webui)
        assert source.events("take") == []
        rig.worker.assert_nothing_left()


@pytest.mark.slow
def test_a_webui_frozen_while_it_is_restarted_is_replaced_and_the_job_gets_its_picture(
    tmp_path: Path, source: JobSource
) -> None:
    with Rig(tmp_path, source, STANDIN_IMPORT_SECONDS="1", BOOT_TIMEOUT_S="5") as rig:
        right = pixels(rig.run()["images"][0])
        rig.fault("die", step=2)
        job = rig.offer()
        frozen = spawned(rig, 2)
        frozen.suspend()
        assert pixels(rig.answer(job)["images"][0]) == right
        assert is_gone(frozen)
        assert rig.webui().pid != frozen.pid


@pytest.mark.slow
def test_stopped_while_a_webui_that_is_restarted_hangs_it_waits_for_nothing(tmp_path: Path, source: JobSource) -> None:
    with Rig(tmp_path, source, STANDIN_IMPORT_SECONDS="1") as rig:
        rig.run()
        rig.webui().kill()
        frozen = spawned(rig, 2)
        frozen.suspend()  # it could not even hear a SIGTERM
        rig.worker.terminate()
        assert_ends_well(rig, within=2.5)
        assert is_gone(frozen)


# The posting of the answer


def test_killed_while_it_sends_the_answer_the_next_worker_has_it(tmp_path: Path, source: JobSource) -> None:
    kept: dict[str, str] = {"RESULTS_DIR": str(tmp_path / "kept")}
    large: dict[str, Any] = {**SMALL, "width": 512, "height": 512, "batch_size": 2, "seed": -1}
    with Rig(tmp_path, source, **kept, STANDIN_GRAIN="0.4") as first:
        first.run()
        source.spoil_postings("hold")
        job = first.offer(**large)
        source.wait_event("failed", job)
        first.worker.kill()
        assert first.worker.wait() == -9
        first.worker.assert_nothing_left()
    (answer,) = (tmp_path / "kept").glob(f"{job}-*/answer.json")
    assert answer.stat().st_size > 1_000_000, "more than the connection holds: it was killed in the middle"
    with Rig(tmp_path, source, **kept) as second:
        source.offer({"id": job, "input": large})
        told = second.answer(job)
        assert told["images"] == json.loads(answer.read_bytes())["answer"]["images"]
        assert len(second.sent()) == 1, "the warm-up alone"
    assert len(source.events("done", job)) == 1


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One worker for what can happen to a posting."""
    with JobSource(hold_s=1.0) as source, Rig(tmp_path_factory.mktemp("rig"), source) as rig:
        rig.run()
        yield rig


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(("error",), marks=pytest.mark.slow),  # as the SDK's part of it, in tests/e2e
        pytest.param(("drop",), marks=pytest.mark.slow),
        ("reset",),
        pytest.param(("error", "drop", "reset", "error"), marks=pytest.mark.slow, id="one after the other"),
    ],
)
def test_a_result_that_the_platform_fails_to_take_is_posted_until_it_is_taken_once(
    settled: Rig, how: tuple[Posting, ...]
) -> None:
    source = settled.source
    right = pixels(settled.run(seed=len(how))["images"][0])
    source.spoil_postings(*how)
    job = settled.offer(seed=len(how))
    assert pixels(settled.answer(job)["images"][0]) == right
    assert [event.data for event in source.events("failed", job)] == list(how)
    assert len(source.events("done", job)) == 1
