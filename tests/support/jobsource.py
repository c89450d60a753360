"""RunPod's job API on loopback: hands out jobs, takes answers, records everything.

Speaks what the SDK speaks in production (take, batch take, stop, done, stream, progress, ping) over real HTTP, and is
as strict as the platform: a result that is too large or is not strict JSON is answered with 400 and lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from typing_extensions import Self

Kind = Literal["offered", "take", "taken", "progress", "done", "refused", "failed", "stop", "stopped", "stream", "ping"]
PROGRESS_BYTES = 1000
"""A longer posting is a result, which can be reset before it was read; of a shorter one that has to be seen first."""
HELD_FROM_BYTES = 1_000_000
"""Of a posting that can be held: progress is smaller, and a connection takes as much without anybody reading it."""
PIECE_BYTES = 1_000_000
"""Largest streamed piece that the platform takes."""
Posting = Literal["refuse", "error", "drop", "reset", "hold"]
"""What may happen to a posted result: HTTP 400, HTTP 500, taken but answered with a closed connection, cut unread, read
to the first bytes only while the rest is waiting to be sent."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, at monotonic second `at`."""

    at: float
    kind: Kind
    job_id: str | None = None
    data: Any = None


@dataclass(frozen=True, slots=True)
class Result:
    """What was posted for a job and accepted."""

    job_id: str
    body: dict[str, Any]
    raw: bytes
    at: float
    is_stream: bool = False

    @property
    def output(self) -> dict[str, Any]:
        output = self.body.get("output")
        assert isinstance(output, dict), f"no output in {self.raw[:500]!r}"
        return output

    @property
    def error(self) -> str | None:
        return self.body.get("error")


@dataclass
class _State:
    jobs: deque[dict[str, Any]] = field(default_factory=deque)
    stops: deque[str] = field(default_factory=deque)
    postings: deque[Posting] = field(default_factory=deque)
    takes: deque[int] = field(default_factory=deque)
    results: dict[str, Result] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class JobSource:
    """Use as a context manager; every method may be called from any thread but the server's.

    Args:
        hold_s: How long an empty take or stop is held open.
        limit_bytes: Largest result that is accepted.
    """

    def __init__(self, *, hold_s: float = 2.0, limit_bytes: int = 20_000_000) -> None:
        self._hold_s = hold_s
        self._limit_bytes = limit_bytes
        self._state = _State()
        self._changed = threading.Condition()
        self._deserted = False
        self._loop = asyncio.new_event_loop()
        self._news: asyncio.Event
        self._thread = threading.Thread(target=self._serve, name="job-source", daemon=True)
        self._started = threading.Event()
        self._over: asyncio.Event
        self.port = 0

    # For tests

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def offer(self, job: Mapping[str, Any] | None = None, /, **input_fields: Any) -> str:
        """Queue a job, whole (``{"input": …}``) or by its input's fields; return its id."""
        whole: dict[str, Any] = dict(job) if job is not None else {"input": input_fields}
        whole.setdefault("id", f"job-{uuid.uuid4().hex[:12]}")
        with self._changed:
            self._state.jobs.append(whole)
            self._note("offered", whole["id"])
        self._wake()
        return str(whole["id"])

    def cancel(self, job_id: str) -> None:
        """Signal that a job is to be stopped."""
        with self._changed:
            self._state.stops.append(job_id)
            self._note("stop", job_id)
        self._wake()

    def withdraw(self, job_id: str) -> bool:
        """Take a job out of the queue; return whether it was still there."""
        with self._changed:
            waiting = [job for job in self._state.jobs if job["id"] == job_id]
            for job in waiting:
                self._state.jobs.remove(job)
            return bool(waiting)

    def spoil_postings(self, *what: Posting) -> None:
        """Treat the next results posted in these ways, in this order."""
        with self._changed:
            self._state.postings.extend(what)

    def spoil_takes(self, *statuses: int) -> None:
        """Answer the next takes with these HTTP statuses, in this order."""
        with self._changed:
            self._state.takes.extend(statuses)

    def wait_result(self, job_id: str, timeout: float = 30.0) -> Result:
        """Return the result of a job once it was accepted."""
        with self._changed:
            self._changed.wait_for(lambda: job_id in self._state.results or self._deserted, timeout)
            if job_id not in self._state.results:
                raise AssertionError(f"no result for {job_id} within {timeout} s; events: {self._story()}")
            return self._state.results[job_id]

    def wait_event(
        self, kind: Kind, job_id: str | None = None, timeout: float = 30.0, *, after: float = 0.0, count: int = 1
    ) -> Event:
        """Return the `count`-th event of this kind (and job) that happened later than monotonic second `after`."""
        found: list[Event] = []

        def enough() -> bool:
            found[:] = [event for event in self._find(kind, job_id) if event.at > after]
            return len(found) >= count

        with self._changed:
            self._changed.wait_for(lambda: enough() or self._deserted, timeout)
            if not enough():
                raise AssertionError(f"no {kind} for {job_id} within {timeout} s; events: {self._story()}")
            return found[count - 1]

    def events(self, kind: Kind | None = None, job_id: str | None = None) -> list[Event]:
        """Return what has happened so far, oldest first."""
        with self._changed:
            return self._find(kind, job_id)

    def worker_ended(self) -> None:
        """Stop waiting for what only a worker could do."""
        with self._changed:
            self._deserted = True
            self._changed.notify_all()

    def waiting(self) -> int:
        """Return how many jobs nobody has taken."""
        with self._changed:
            return len(self._state.jobs)

    def worker_env(self) -> dict[str, str]:
        """Return the environment of a worker that takes its jobs here."""
        base = f"http://127.0.0.1:{self.port}/v2/loopback"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?gpu=none",
            "RUNPOD_POD_ID": f"pod-{uuid.uuid4().hex[:8]}",
            "RUNPOD_AI_API_KEY": "loopback-key",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
        }

    # The server

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self) -> None:
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/v2/loopback/job-take/{pod}", self._take)
        app.router.add_get("/v2/loopback/job-take-batch/{pod}", self._take)
        app.router.add_get("/v2/loopback/job-stop/{pod}", self._stop)
        app.router.add_post("/v2/loopback/job-done/{pod}/{job}", self._done)
        app.router.add_post("/v2/loopback/job-stream/{pod}/{job}", self._stream)
        app.router.add_get("/v2/loopback/ping/{pod}", self._ping)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", free_port())
        await site.start()
        self.port = runner.addresses[0][1]
        self._started.set()
        await self._over.wait()
        await runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        size = int(request.query.get("batch_size", "0"))
        with self._changed:
            self._note("take", None, {"batch": size, "busy": request.query.get("job_in_progress")})
            if self._state.takes:
                return web.json_response({}, status=self._state.takes.popleft())
        taken: list[dict[str, Any]] = []

        def pick() -> bool:
            while self._state.jobs and len(taken) < max(1, size):
                taken.append(self._state.jobs.popleft())
            return bool(taken)

        if not await self._held(pick):
            return web.Response(status=204)
        response = web.json_response(taken if size else taken[0])
        with self._changed:
            for job in taken:
                self._note("taken", job["id"], {"pod": request.match_info["pod"]})
        return response

    async def _stop(self, request: web.Request) -> web.StreamResponse:
        del request
        stopped: list[str] = []

        def pick() -> bool:
            stopped.extend(self._state.stops)
            self._state.stops.clear()
            return bool(stopped)

        if not await self._held(pick):
            return web.Response(status=204)
        with self._changed:
            for job_id in stopped:
                self._note("stopped", job_id)
        return web.json_response({"jobsToStop": stopped})

    async def _done(self, request: web.Request) -> web.StreamResponse:
        job_id = request.match_info["job"]
        if (request.content_length or 0) > PROGRESS_BYTES and self._spoiled(job_id, "reset"):
            return _cut(request)
        if (request.content_length or 0) > HELD_FROM_BYTES and self._spoiled(job_id, "hold"):
            await self._over.wait()  # or until whoever posts is gone, which cancels this
        raw = await request.read()
        try:
            body = json.loads(raw.decode(), parse_constant=_refuse_constant)
        except (UnicodeDecodeError, ValueError) as error:
            return self._refuse(job_id, f"not strict JSON: {error}", raw)
        if body.get("status") == "IN_PROGRESS":
            with self._changed:
                self._note("progress", job_id, body["output"])
            return web.json_response({})
        if self._spoiled(job_id, "reset") or self._spoiled(job_id, "drop"):
            return _cut(request)
        is_stream = request.query.get("isStream") == "true"
        status = 400 if self._spoiled(job_id, "refuse") else 500 if self._spoiled(job_id, "error") else 200
        if status == 200 and len(raw) > self._limit_bytes:
            return self._refuse(job_id, f"{len(raw)} bytes", raw)
        if status == 200:
            with self._changed:
                event = self._note("done", job_id, body)
                self._state.results.setdefault(job_id, Result(job_id, body, raw, event.at, is_stream))
        return web.json_response({}, status=status)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if len(raw) > PIECE_BYTES:
            return self._refuse(request.match_info["job"], f"{len(raw)} bytes", raw)
        with self._changed:
            self._note("stream", request.match_info["job"], json.loads(raw))
        return web.json_response({})

    async def _ping(self, request: web.Request) -> web.StreamResponse:
        with self._changed:
            self._note("ping", None, dict(request.query))
        return web.json_response({})

    def _refuse(self, job_id: str, why: str, raw: bytes) -> web.Response:
        with self._changed:
            self._note("refused", job_id, {"why": why, "raw": raw[:2000]})
        return web.json_response({"error": why}, status=400)

    def _spoiled(self, job_id: str, how: Posting) -> bool:
        """Return whether this posting is to go wrong in this way."""
        with self._changed:
            if not self._state.postings or self._state.postings[0] != how:
                return False
            self._state.postings.popleft()
            self._note("failed", job_id, how)
            return True

    async def _held(self, pick: Callable[[], bool]) -> bool:
        """Hold the request until `pick` finds something, the hold is over or the source ends."""
        deadline = self._loop.time() + self._hold_s
        while True:
            with self._changed:
                news = self._news
                if pick():
                    return True
            left = deadline - self._loop.time()
            if left <= 0 or self._over.is_set():
                return False
            await _within(news.wait(), min(left, 0.5))

    def _wake(self) -> None:
        def swap() -> None:
            self._news.set()
            self._news = asyncio.Event()

        self._loop.call_soon_threadsafe(swap)

    def _note(self, kind: Kind, job_id: str | None = None, data: Any = None) -> Event:
        event = Event(time.monotonic(), kind, job_id, data)
        self._state.events.append(event)
        self._changed.notify_all()
        return event

    def _find(self, kind: Kind | None, job_id: str | None) -> list[Event]:
        return [
            event
            for event in self._state.events
            if (kind is None or event.kind == kind) and (job_id is None or event.job_id == job_id)
        ]

    def _story(self) -> str:
        lines = [
            f"{event.at:.3f} {event.kind} {event.job_id} {event.data!r:.200}" for event in self._state.events[-40:]
        ]
        return "\n" + "\n".join(lines)


async def _within(work: Coroutine[Any, Any, Any], seconds: float) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(work, seconds)


def _cut(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
