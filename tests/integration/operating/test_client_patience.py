"""The client against endpoints that are out of reach for a moment, busy, or odd; its clock is the test's own."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.loopback_http import Reply, Request, serve
from worker.client import AsyncEndpoint, Endpoint, EndpointError, JobFailed, JobTimedOut
from worker.client.job_state import read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Clock:
    """Seconds that pass when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def _json(told: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(told).encode(), {"Content-Type": "application/json", **(headers or {})})


def _endpoint_at(url: str, clock: Clock) -> Endpoint:
    return Endpoint(url, sleep=clock.sleep, clock=clock)


def _away(clock: Clock, begin: float, end: float, away: Reply) -> Callable[[Request], Reply]:
    """A job that runs until `end`; from `begin` on the endpoint answers `away`."""

    def script(request: Request) -> Reply:
        if request.path == "/run":
            return _json({"id": "x", "status": "IN_QUEUE"})
        if begin < clock.now < end:
            return away
        return _json(
            {"id": "x", "status": "COMPLETED", "output": {"images": ["QQ=="]}}
            if clock.now >= end
            else {"id": "x", "status": "IN_PROGRESS"}
        )

    return script


def test_an_endpoint_that_is_away_for_a_moment_loses_no_job() -> None:
    clock = Clock()
    with serve(_away(clock, 1, 20, Reply(502))) as server:
        assert _endpoint_at(server.url, clock).run({}).wait().images == ["QQ=="]


def test_pictures_come_though_the_endpoint_was_away() -> None:
    clock = Clock()
    with serve(_away(clock, 0, 20, Reply(503))) as server:
        job = _endpoint_at(server.url, clock).run({})
        assert list(job.pictures()) == []
        assert job.state.over


def test_asynchronous_code_is_as_patient() -> None:
    clock = Clock()
    answers = iter([502] * 6)

    def script(request: Request) -> Reply:
        if request.path == "/run":
            return _json({"id": "x", "status": "IN_QUEUE"})
        status = next(answers, None)
        return Reply(status) if status else _json({"id": "x", "status": "COMPLETED", "output": {}})

    async def waited() -> dict[str, Any]:
        endpoint = AsyncEndpoint(server.url, sleep=clock.sleep, clock=clock)
        return await (await endpoint.run({})).wait()

    with serve(script) as server:
        assert asyncio.run(waited()) == {}


def test_an_endpoint_that_stays_away_is_given_up() -> None:
    clock = Clock()
    with serve(_away(clock, 1, 10_000, Reply(502))) as server, pytest.raises(EndpointError, match="502"):
        _endpoint_at(server.url, clock).run({}).wait()
    assert clock.now < 60


def test_patience_ends_with_the_callers_own_time() -> None:
    clock = Clock()
    with serve(_away(clock, 1, 10_000, Reply(502))) as server, pytest.raises(JobTimedOut):
        _endpoint_at(server.url, clock).run({}).wait(5)
    assert clock.now < 15


def test_a_refusal_is_told_at_once() -> None:
    clock = Clock()
    with (
        serve(_away(clock, 1, 10_000, _json({"error": "no"}, 401))) as server,
        pytest.raises(EndpointError, match="no"),
    ):
        _endpoint_at(server.url, clock).run({}).wait()
    assert clock.now < 3


def test_a_busy_endpoint_is_asked_again_when_it_says() -> None:
    clock = Clock()

    def script(_: Request) -> Reply:
        if clock.now < 20:
            return _json({"error": "busy"}, 429, {"Retry-After": "20"})
        return _json({"id": "x", "status": "IN_QUEUE"})

    with serve(script) as server:
        assert _endpoint_at(server.url, clock).run({}).id == "x"
        assert len(server.seen) == 2


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"id": ' + b"9" * 5000 + b"}", b"\xff\xfe{", b"<html>", b"[]", b""])
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_of_any_bytes_is_an_endpoint_error(body: bytes, status: int) -> None:
    with serve(lambda _: Reply(status, body)) as server, pytest.raises(EndpointError, match="answer"):
        Endpoint(server.url).run({})


def test_a_job_that_is_no_json_is_told_as_that() -> None:
    with pytest.raises(EndpointError, match="sent as JSON"):
        Endpoint("http://127.0.0.1:9").run({"cfg_scale": float("nan")})


def test_a_job_that_is_done_without_an_output_has_failed() -> None:
    with pytest.raises(JobFailed, match="no output"):
        read_state({"id": "x", "status": "COMPLETED"}).answer()
    assert read_state({"id": "x", "status": "COMPLETED", "output": {"error": None}}).answer() == {"error": None}


def test_a_job_that_a_starting_worker_has_not_taken_is_sent_again() -> None:
    clock = Clock()

    def script(_: Request) -> Reply:
        if clock.now < 8:
            return _json({"error": "the worker is starting or stopping"}, 503, {"Retry-After": "5"})
        return _json({"id": "x", "status": "IN_QUEUE"})

    with serve(script) as server:
        assert _endpoint_at(server.url, clock).run({}).id == "x"
        assert len(server.seen) == 3


def test_a_job_that_may_have_been_taken_is_not_sent_again() -> None:
    with serve(lambda _: _json({}, 503)) as server:
        with pytest.raises(EndpointError, match="503"):
            _endpoint_at(server.url, Clock()).run({})
        assert len(server.seen) == 1


def test_a_job_is_asked_for_at_the_worker_that_took_it() -> None:
    clock = Clock()

    def script(request: Request) -> Reply:
        status = "IN_QUEUE" if request.path == "/run" else "COMPLETED"
        return _json({"id": "x", "status": status, "output": {"seeds": [1]}}, headers={"X-Runpod-Worker-Id": "pod-7"})

    with serve(script) as server:
        job = _endpoint_at(server.url, clock).run({})
        job.wait()
        list(job.pictures())
        job.cancel()
        _endpoint_at(server.url, clock).job("x", worker=job.worker)
    asked = [(request.path, request.headers.get("x-runpod-worker-id")) for request in server.seen]
    assert asked[0] == ("/run", None)
    assert {path for path, _ in asked} == {"/run", "/status/x", "/stream/x", "/cancel/x"}
    assert {worker for _, worker in asked[1:]} == {"strict pod-7"}


def test_an_endpoint_without_a_free_worker_is_asked_again_though_it_says_400() -> None:
    clock = Clock()

    def script(_: Request) -> Reply:
        if clock.now < 10:
            return _json({"error": "no workers available"}, 400)
        return _json({"id": "x", "status": "IN_QUEUE"})

    with serve(script) as server:
        assert _endpoint_at(server.url, clock).run({}).id == "x"
        assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("status", "error", "hint"),
    [
        (400, "no workers available", "raise the endpoint's workers"),
        (400, "not allowed for QB API", "queue endpoint"),
        (404, "affinity_worker_gone", "is gone"),
        (524, "", "5.5 minutes"),
        (502, "", "PORT"),
    ],
)
def test_what_the_platform_refuses_is_explained(status: int, error: str, hint: str) -> None:
    clock = Clock()
    with (
        serve(lambda _: _json({"error": error}, status)) as server,
        pytest.raises(EndpointError, match=hint) as caught,
    ):
        _endpoint_at(server.url, clock).run({})
    assert caught.value.status == status


def _queue(workers: Mapping[str, int], health: Reply | None = None) -> Callable[[Request], Reply]:
    """An endpoint of RunPod's whose workers never take the job."""

    def script(request: Request) -> Reply:
        if request.path == "/health":
            return health or _json({"jobs": {"inQueue": 3, "inProgress": 1}, "workers": workers})
        return _json({"id": "x", "status": "IN_QUEUE"})

    return script


@pytest.mark.parametrize(
    ("workers", "reason"),
    [
        ({"idle": 0, "running": 0, "throttled": 0}, "Its maximum may be 0"),
        ({"throttled": 2}, "2 workers are throttled: no GPU"),
        ({"unhealthy": 1}, "1 worker is unhealthy"),
        ({"initializing": 1, "throttled": 4}, "1 worker is starting"),
        ({"running": 2}, "2 workers are busy, 3 jobs wait"),
    ],
)
def test_a_job_that_stays_in_the_queue_says_why(workers: dict[str, int], reason: str) -> None:
    clock = Clock()
    with serve(_queue(workers)) as server:
        job = _endpoint_at(server.url, clock).run({})
        states = job.stream(timeout=35)
        assert next(states).waits_for is None
        assert reason in (next(states).waits_for or "")
        with pytest.raises(JobTimedOut, match=reason):
            next(states)  # it is told once, as long as it stays the same
        looks = [request for request in server.seen if request.path == "/health"]
    assert len(looks) == 2


@pytest.mark.parametrize("health", [Reply(404), _json({"state": "ready"}), _json({"workers": "many"})])
def test_a_health_that_tells_nothing_changes_nothing(health: Reply) -> None:
    clock = Clock()
    with serve(_queue({}, health)) as server, pytest.raises(JobTimedOut, match=r"after 35 s$"):
        _endpoint_at(server.url, clock).run({}).wait(timeout=35)


def test_asynchronous_code_is_told_too() -> None:
    clock = Clock()

    async def reason(url: str) -> str | None:
        job = await AsyncEndpoint(url, sleep=clock.sleep, clock=clock).run({})
        states = job.stream()
        await anext(states)
        clock.sleep(10)
        return (await anext(states)).waits_for

    with serve(_queue({})) as server:
        assert "no workers" in (asyncio.run(reason(server.url)) or "")
