"""An endpoint, from synchronous code."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests

from worker.client.answer import OVER, Answer, EndpointError, Picture, State, read_picture, read_state
from worker.client.watch import BUSY, FIRST_PAUSE_S, LONGEST_PAUSE_S, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RUNPOD = "https://api.runpod.ai/v2"
"""Where endpoints are; RUNPOD_ENDPOINT_BASE_URL, which RunPod's own SDK reads too, names another place."""

REQUEST_S = 120.0
SHORTEST_RUNSYNC_S, RUNSYNC_S = 1.0, 90.0
"""For how long ``/runsync`` may be told to wait, on RunPod at least a second."""

TRIES = 4
LONGEST_ASKED_S = 30.0


_PLACE = re.compile(r"https?://[^\s/?#]+[^\s?#]*|[A-Za-z0-9_-]+")


class Endpoint:
    """One endpoint; thread-safe.

    Args:
        where: RunPod's endpoint id, or the URL of `python -m worker serve`.
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
        self._session = session or requests.Session()
        bare = (api_key or "").strip()
        if not bare.isascii() or not bare.isprintable():
            raise EndpointError("the key must be plain ASCII text on one line")
        self._headers = {"Authorization": f"Bearer {bare}"} if bare else {}
        self._sleep = sleep
        self._clock = clock

    def run(self, job: Mapping[str, Any], **more: Any) -> Job:
        """Put a job in line and return it.

        Args:
            job: Its input.
            more: Beside the input: ``webhook``, ``policy``, ``s3Config``.

        Raises:
            EndpointError: it was not taken.
        """
        return Job(self, read_state(self.call("POST", "run", {"input": dict(job), **more}, again=BUSY[:1])))

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
        state = read_state(self.call("POST", path, {"input": dict(job), **more}, again=BUSY[:1]))
        if state.over:
            return state.answer()
        return Job(self, state).wait(None if timeout is None else max(0.0, timeout - (self.now() - began)))

    def job(self, job_id: str) -> Job:
        """Return the job with this id.

        Raises:
            EndpointError: there is none.
        """
        return Job(self, read_state(self.call("GET", f"status/{quote(job_id, safe='')}")))

    def health(self) -> dict[str, Any]:
        """Return how many jobs and workers are where."""
        return self.call("GET", "health")

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        again: tuple[int, ...] = BUSY,
    ) -> dict[str, Any]:
        """Send a request and return the JSON that comes back.

        Args:
            method: Of the request.
            path: Below the endpoint.
            body: Sent as JSON.
            again: Statuses after which it is sent again. A broken connection is tried again for GET alone: a job that
                was posted may have been taken.

        Raises:
            EndpointError: refused, or not reachable.
        """
        for attempt in range(1, TRIES + 1):
            asked = 0.0
            try:
                answer = self._session.request(
                    method, f"{self.url}/{path}", json=body, headers=self._headers, timeout=REQUEST_S
                )
            except requests.exceptions.InvalidJSONError as error:
                raise EndpointError(f"the job can't be sent as JSON: {error}") from error
            except requests.RequestException as error:
                if method != "GET" or attempt == TRIES:
                    raise EndpointError(f"{self.url} can't be reached: {error}") from error
            else:
                if answer.status_code < 400:  # noqa: PLR2004 - HTTP's own boundary
                    return _read(answer)
                asked = _asked_s(answer)
                if answer.status_code not in again or attempt == TRIES or asked > LONGEST_ASKED_S:
                    raise EndpointError(_said(answer), answer.status_code)
            self._sleep(max(asked, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt)))
        raise AssertionError("the last try returns or raises")

    def pause(self, seconds: float) -> None:
        """Wait."""
        self._sleep(seconds)

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._clock()


class Job:
    """A job on an endpoint.

    Attributes:
        state: As last heard.
    """

    def __init__(self, endpoint: Endpoint, state: State) -> None:
        self.state = state
        self._endpoint = endpoint

    @property
    def id(self) -> str:
        """Its name at the endpoint."""
        return self.state.id

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._endpoint.now()

    def refresh(self) -> State:
        """Ask how it is."""
        told = self._endpoint.call("GET", f"status/{quote(self.id, safe='')}")
        self.state = read_state(told)
        return self.state

    def stream(self, timeout: float | None = None) -> Iterator[State]:
        """Yield its states as they change, the last one over.

        Raises:
            JobTimedOut: `timeout` seconds have passed.
        """
        watch = Watch(self.id, timeout, self.now())
        while True:
            if watch.is_news(self.state):
                yield self.state
            if self.state.over:
                return
            self._endpoint.pause(watch.pause_s(self.now()))
            with watch.patiently(self.now):
                self.refresh()

    def pictures(self, timeout: float | None = None) -> Iterator[Picture]:
        """Yield the pictures of a job with ``stream: true`` as they are made; the job is over after the last one.

        Raises:
            JobTimedOut: `timeout` seconds have passed.
        """
        watch, last, seen = Watch(self.id, timeout, self.now()), 0, set[int]()
        while True:
            told: Mapping[str, Any] = {}
            with watch.patiently(self.now):
                told = self._endpoint.call("GET", f"stream/{quote(self.id, safe='')}?after={last}")
            entries = [entry for entry in told.get("stream") or () if isinstance(entry, dict)]
            for entry in entries:
                last = max(last, int(entry.get("number") or 0))
                picture = read_picture(entry.get("output"))
                if picture is not None and picture.index not in seen:
                    seen |= {picture.index} if picture.index >= 0 else set()
                    watch.hear()
                    yield picture
            if not entries and told.get("status") in OVER:
                self.refresh()
                return
            pause_s = watch.pause_s(self.now())
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

    def cancel(self) -> State:
        """Stop it; return how it is."""
        self.state = read_state(self._endpoint.call("POST", f"cancel/{quote(self.id, safe='')}"))
        return self.state


def _read(answer: requests.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except requests.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise EndpointError(f"{answer.url} did not answer with a JSON object", answer.status_code)
    return told


def _asked_s(answer: requests.Response) -> float:
    wait = answer.headers.get("Retry-After", "")
    return float(wait) if wait.isascii() and wait.isdigit() else 0.0


def _said(answer: requests.Response) -> str:
    try:
        told = answer.json()
    except requests.JSONDecodeError:
        told = {}
    words = told.get("error") or told.get("message") if isinstance(told, dict) else None
    return f"{answer.url} answered {answer.status_code}: {words or answer.reason or 'no explanation'}"
