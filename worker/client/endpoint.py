"""An endpoint, from synchronous code."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from worker.client.job_state import (
    OVER,
    QUEUED,
    Answer,
    EndpointError,
    JobState,
    ResultPicture,
    read_picture,
    read_state,
)
from worker.client.polling import BUSY, Polling
from worker.client.queue_reason import queue_reason
from worker.client.requester import Requester

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import requests

RUNPOD = "https://api.runpod.ai/v2"
"""Address of all endpoints; RUNPOD_ENDPOINT_BASE_URL, which RunPod's own SDK reads too, names another one."""

SHORTEST_RUNSYNC_S, RUNSYNC_S = 1.0, 90.0
"""For how long ``/runsync`` may be told to wait, on RunPod at least a second."""

_PLACE = re.compile(r"https?://[^\s/?#]+[^\s?#]*|[A-Za-z0-9_-]+")


def key_name(where: str) -> str:
    """Return the variable with the key for an endpoint: RunPod's goes to RunPod alone, never to an address at will."""
    try:
        is_runpods = "://" not in where or urlsplit(where).hostname == urlsplit(RUNPOD).hostname
    except ValueError:
        is_runpods = False
    return "RUNPOD_API_KEY" if is_runpods else "HTTP_API_KEY"


class Endpoint:
    """One endpoint; thread-safe.

    Args:
        where: RunPod's endpoint id, or the URL of `worker serve`.
        api_key: RunPod's key, or the worker's HTTP_API_KEY.
        session: For HTTP; default: a new one.
        sleep: Waits between questions.
        clock: Monotonic seconds.

    Raises:
        EndpointError: `where` can't be an endpoint, or `api_key` can't be a key.
    """

    def __init__(
        self,
        where: str,
        *,
        api_key: str | None = None,
        session: requests.Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not _PLACE.fullmatch(where):
            raise EndpointError(f"{where!r} is neither an endpoint's id nor an http(s) address")
        place = os.environ.get("RUNPOD_ENDPOINT_BASE_URL", "").rstrip("/") or RUNPOD
        self.url = where.rstrip("/") if "://" in where else f"{place}/{where}"
        bare = (api_key or "").strip()
        if not bare.isascii() or not bare.isprintable():
            raise EndpointError("the key must be plain ASCII text on one line")
        headers = {"Authorization": f"Bearer {bare}"} if bare else {}
        self.requester = Requester(self.url, headers, session=session, sleep=sleep)
        self._sleep = sleep
        self._clock = clock

    def run(self, job: Mapping[str, Any], **more: Any) -> EndpointJob:
        """Put a job in line and return it.

        Args:
            job: Its input.
            more: Beside the input: ``webhook``, ``policy``, ``s3Config``.

        Raises:
            EndpointError: it was not taken.
        """
        reply = self.requester.request("POST", "run", {"input": dict(job), **more}, again=BUSY[:1])
        return EndpointJob(self, read_state(reply.told), reply.worker)

    def runsync(self, job: Mapping[str, Any], *, timeout: float | None = None, **more: Any) -> Answer:
        """Run a job and return its answer.

        Args:
            job: Its input.
            timeout: Seconds to wait; None: until it is over. The job goes on after that, `JobTimedOut.job_id` names it.
            more: As for `run`.

        Raises:
            JobFailed, JobCancelled, JobTimedOut: it has no answer.
            EndpointError: it was not taken.
        """
        if timeout is not None and timeout < SHORTEST_RUNSYNC_S:
            return self.run(job, **more).wait(timeout)
        began, wait = self.now(), min(RUNSYNC_S, timeout if timeout is not None else RUNSYNC_S)
        path = f"runsync?wait={round(wait * 1000)}"
        reply = self.requester.request("POST", path, {"input": dict(job), **more}, again=BUSY[:1])
        state = read_state(reply.told)
        if state.over:
            return state.answer()
        left = None if timeout is None else max(0.0, timeout - (self.now() - began))
        return EndpointJob(self, state, reply.worker).wait(left)

    def job(self, job_id: str, *, worker: str | None = None) -> EndpointJob:
        """Return the job with this id.

        Args:
            job_id: The job's id.
            worker: On a load-balancing endpoint the worker that has it (`Job.worker`).

        Raises:
            EndpointError: there is none.
        """
        reply = self.requester.request("GET", f"status/{quote(job_id, safe='')}", worker=worker)
        return EndpointJob(self, read_state(reply.told), worker or reply.worker)

    def health(self) -> dict[str, Any]:
        """Return how many jobs and workers are where."""
        return self.call("GET", "health")

    def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request and return the JSON that comes back; see `Requester.request`."""
        return self.requester.request(method, path, body).told

    def pause(self, seconds: float) -> None:
        """Wait."""
        self._sleep(seconds)

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._clock()


class EndpointJob:
    """A job on an endpoint.

    Attributes:
        state: As last heard.
        worker: On a load-balancing endpoint the worker that has the job; no other knows it.
    """

    def __init__(self, endpoint: Endpoint, state: JobState, worker: str | None = None) -> None:
        self.state = state
        self.worker = worker
        self._endpoint = endpoint

    @property
    def id(self) -> str:
        """Its name at the endpoint."""
        return self.state.id

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._endpoint.now()

    def refresh(self) -> JobState:
        """Ask how it is."""
        known = self.state.waits_for
        self.state = read_state(self._ask("GET", f"status/{quote(self.id, safe='')}"))
        if self.state.status == QUEUED:
            self.state = replace(self.state, waits_for=known)
        return self.state

    def look_why_it_waits(self, polling: Polling) -> None:
        """Ask for the endpoint's health when the job has stayed in the queue for a while; see `JobState.waits_for`."""
        if not polling.wants_reason(self.state, self.now()):
            return
        try:
            reason = queue_reason(self._endpoint.health())
        except EndpointError:  # says nothing about the job
            return
        self.state = replace(self.state, waits_for=reason)
        polling.note_reason(reason)

    def stream(self, timeout: float | None = None) -> Iterator[JobState]:
        """Yield its states as they change, the last one over.

        Raises:
            JobTimedOut: `timeout` seconds have passed.
        """
        polling = Polling(self.id, timeout, self.now())
        while True:
            if polling.is_news(self.state):
                yield self.state
            if self.state.over:
                return
            self._endpoint.pause(polling.pause_s(self.now()))
            with polling.patiently(self.now):
                self.refresh()
            self.look_why_it_waits(polling)

    def pictures(self, timeout: float | None = None) -> Iterator[ResultPicture]:
        """Yield the pictures of a job with ``stream: true`` as they are made; the job is over after the last one.

        Raises:
            JobTimedOut: `timeout` seconds have passed.
        """
        polling, last, seen = Polling(self.id, timeout, self.now()), 0, set[int]()
        while True:
            told: Mapping[str, Any] = {}
            with polling.patiently(self.now):
                told = self._ask("GET", f"stream/{quote(self.id, safe='')}?after={last}")
            entries = [entry for entry in told.get("stream") or () if isinstance(entry, dict)]
            for entry in entries:
                last = max(last, int(entry.get("number") or 0))
                picture = read_picture(entry.get("output"))
                if picture is not None and picture.index not in seen:
                    seen |= {picture.index} if picture.index >= 0 else set()
                    polling.hear()
                    yield picture
            if not entries and told.get("status") in OVER:
                self.refresh()
                return
            if told.get("status") == QUEUED:
                self.look_why_it_waits(polling)
            pause_s = polling.pause_s(self.now())
            if told.get("status") not in OVER:
                self._endpoint.pause(pause_s)

    def wait(self, timeout: float | None = None) -> Answer:
        """Return its answer once it is over.

        Raises:
            JobFailed, JobCancelled, JobTimedOut: it has none.
        """
        for _ in self.stream(timeout):
            continue
        return self.state.answer()

    def cancel(self) -> JobState:
        """Stop it; return how it is."""
        self.state = read_state(self._ask("POST", f"cancel/{quote(self.id, safe='')}"))
        return self.state

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        return self._endpoint.requester.request(method, path, worker=self.worker).told
