"""The store is slow, cut off, refuses or gets damaged bytes, while a whole worker delivers to it.

The store is a real one (its signatures and checksums are honest), reached through a TCP proxy that damages the way.
"""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.support.loopback_http import Reply, Request
from tests.support.pace import stretched
from tests.support.rig import SMALL, Rig, pixels
from tests.support.servers.fake_s3 import error, fake_store
from tests.support.servers.proxy import Fault, proxy
from tests.support.servers.s3 import ACCESS_KEY, SECRET_KEY, Store, running_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.jobsource import JobSource

WHOLE = 700
"""Bytes of an upload's head, at least: what comes after them is the picture."""


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store() as running:
        running.make_bucket("pics")
        yield running


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, source: JobSource) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("rig")
    settings = {"ALLOW_HOSTS": "127.0.0.1", "RESULTS_DIR": str(folder / "kept")}
    with Rig(folder, source, **settings) as rig:
        yield rig
        rig.worker.terminate()
        assert rig.worker.wait() == 0


@pytest.fixture(scope="module")
def right(rig: Rig) -> str:
    return pixels(rig.run()["images"][0])


def deliver(rig: Rig, url: str, secret: str = SECRET_KEY, timeout_s: float = 20, **fields: Any) -> dict[str, Any]:
    """Run one job whose pictures go to the store at `url`."""
    where = {"endpointUrl": url, "bucketName": "pics", "accessId": ACCESS_KEY, "accessSecret": secret}
    job = {"input": {**SMALL, "timeout_s": timeout_s, **fields}, "s3Config": where}
    return rig.answer(rig.source.offer(job))


def assert_stored(answer: dict[str, Any], right: str) -> None:
    assert "error" not in answer, answer
    picture = requests.get(answer["images"][0], timeout=20)
    assert picture.status_code == 200
    assert pixels(base64.b64encode(picture.content).decode()) == right


def assert_inline(answer: dict[str, Any], right: str) -> None:
    assert "error" not in answer, answer
    assert pixels(answer["images"][0]) == right
    assert any("The store failed" in warning for warning in answer["warnings"])


def assert_kept(answer: dict[str, Any], right: str) -> None:
    assert answer["error_code"] == "delivery_failed", answer
    (kept,) = answer["details"]["kept"]
    assert pixels(base64.b64encode(Path(kept).read_bytes()).decode()) == right


@pytest.mark.parametrize(
    "plan",
    [
        lambda _: Fault(latency_s=0.05, up_bytes_per_s=20_000),
        lambda number: Fault(reset=number < 3),
        lambda number: Fault(reset_after_up=WHOLE + 500) if number < 2 else Fault(),
        lambda number: Fault(cut_after_down=20) if number < 2 else Fault(),
        lambda number: Fault(flip_up_at=WHOLE + 1500) if number < 1 else Fault(),
    ],
    ids=["slow", "reset at once", "reset in the middle of a picture", "answer cut short", "a picture damaged"],
)
def test_what_another_try_can_help_is_tried_again(
    rig: Rig, store: Store, right: str, plan: Callable[[int], Fault]
) -> None:
    with proxy("127.0.0.1", store.port, plan) as way:
        answer = deliver(rig, way.url, output={"delivery": "s3"})
        way.plan = lambda _: Fault()
        assert_stored(answer, right)


@pytest.mark.parametrize("fault", [Fault(reset=True), Fault(swallow=True)])
def test_what_no_try_helps_ends_before_the_deadline_inline_or_kept(
    rig: Rig, store: Store, right: str, fault: Fault
) -> None:
    with proxy("127.0.0.1", store.port, lambda _: fault) as way:
        for output, judge in (({}, assert_inline), ({"delivery": "s3"}, assert_kept)):
            began = time.monotonic()
            judge(deliver(rig, way.url, timeout_s=2, output=output), right)
            assert time.monotonic() - began < stretched(5)
        assert way.connections > 1


def test_a_store_that_does_not_know_the_key_is_not_asked_again(rig: Rig, store: Store, right: str) -> None:
    with proxy("127.0.0.1", store.port) as way:
        answer = deliver(rig, way.url, secret="forged-secret", output={"delivery": "s3"})
        assert_kept(answer, right)
        assert answer["details"]["store_code"] == "SignatureDoesNotMatch"
        assert answer["details"]["tries"] == 1


def test_a_busy_store_is_asked_again_and_one_that_stays_busy_is_an_error(rig: Rig, right: str) -> None:
    busy = 2

    def fault(request: Request, number: int) -> Reply | None:
        return error(503, "SlowDown") if request.method == "PUT" and number < busy else None

    with fake_store(fault) as fake:
        assert_stored(deliver(rig, fake.server.url, output={"delivery": "s3"}), right)
        busy = 1000
        answer = deliver(rig, fake.server.url, timeout_s=2, seed=42, output={"delivery": "s3"})
        assert_kept(answer, right)
        assert answer["retryable"] is True


def test_a_store_that_holds_other_bytes_than_were_sent_is_an_error(rig: Rig, right: str) -> None:
    def fault(request: Request, _number: int) -> Reply | None:
        return Reply(200, headers={"ETag": f'"{"0" * 32}"'}) if request.method == "PUT" else None

    with fake_store(fault) as fake:
        assert_kept(deliver(rig, fake.server.url, output={"delivery": "s3"}), right)
        assert_inline(deliver(rig, fake.server.url), right)


def test_a_stuck_store_keeps_no_other_job_waiting(rig: Rig, store: Store, right: str) -> None:
    with proxy("127.0.0.1", store.port, lambda _: Fault(swallow=True)) as way:
        where = {"endpointUrl": way.url, "bucketName": "pics", "accessId": ACCESS_KEY, "accessSecret": SECRET_KEY}
        stuck = rig.source.offer({"input": {**SMALL, "timeout_s": 2, "output": {"delivery": "s3"}}, "s3Config": where})
        rig.source.wait_event("taken", stuck)
        began = time.monotonic()
        assert pixels(rig.run()["images"][0]) == right
        assert time.monotonic() - began < stretched(3)
        assert rig.answer(stuck)["error_code"] == "delivery_failed"
