"""An endpoint, from synchronous code."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import requests

from worker.client.answer import OVER, Answer, JobTimedOut, Picture, State, read_picture, read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

RUNPOD = "https://api.runpod.ai/v2"
"""Where endpoints are; RUNPOD_ENDPOINT_BASE_URL, which RunPod's own SDK reads too, names another place."""

REQUEST_S = 120.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 2.0
TRIES = 4
BUSY = (429, 502, 503, 504)


class EndpointError(Exception):
    """The endpoint itself refused or could not be reached.

    Attributes:
        status: HTTP status; 0 where there was no answer.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Endpoint:
    """One endpoint; thread-safe.

    Args:
        where: RunPod's endpoint id, or the URL of `python -m worker serve`.
        api_key: RunPod's key, or the worker's HTTP_API_KEY.
        session: For HTTP; default: a new one.
        sleep: Waits between questions.
        clock: Monotonic seconds.

    Raises:
        EndpointError: the key can't be one.
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
            timeout: Seconds to wait; None: until it is over.
            more: As for `run`.

        Raises:
            JobFailed, JobCancelled, JobTimedOut: it has no answer.
            EndpointError: it was not taken.
        """
        state = read_state(self.call("POST", "runsync", {"input": dict(job), **more}, again=BUSY[:1]))
        return state.answer() if state.over else Job(self, state).wait(timeout)

    def job(self, job_id: str) -> Job:
        """Return the job with this id.

        Raises:
            EndpointError: there is none.
        """
        return Job(self, read_state(self.call("GET", f"status/{job_id}")))

    def health(self) -> dict[str, Any]:
        """Return how many jobs and workers are where."""
        return self.call("GET", "health")

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, again: tuple[int, ...] = BUSY
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
            try:
                answer = self._session.request(
                    method, f"{self.url}/{path}", json=body, headers=self._headers, timeout=REQUEST_S
                )
            except requests.RequestException as error:
                if method != "GET" or attempt == TRIES:
                    raise EndpointError(f"{self.url} can't be reached: {error}") from error
            else:
                if answer.status_code < 400:  # noqa: PLR2004 - HTTP's own boundary
                    return _read(answer)
                if answer.status_code not in again or attempt == TRIES:
                    raise EndpointError(_said(answer), answer.status_code)
            self._sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**attempt))
        raise AssertionError("the last try returns or raises")

    def pause(self, asked: int) -> None:
        """Wait before asking for the `asked`-th time."""
        self._sleep(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 1.5 ** min(asked, 10)))

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

    def refresh(self) -> State:
        """Ask how it is."""
        self.state = read_state(self._endpoint.call("GET", f"status/{self.id}"))
        return self.state

    def stream(self, timeout: float | None = None) -> Iterator[State]:
        """Yield its states as they change, the last one over.

        Raises:
            JobTimedOut: `timeout` seconds have passed.
        """
        began, asked, told = self._endpoint.now(), 0, None
        while True:
            if self.state != told:
                told = self.state
                asked = 0
                yield told
            if told.over:
                return
            if timeout is not None and self._endpoint.now() - began > timeout:
                raise JobTimedOut(f"job {self.id} is not over after {timeout:g} s")
            asked += 1
            self._endpoint.pause(asked)
            self.refresh()

    def pictures(self, timeout: float | None = None) -> Iterator[Picture]:
        """Yield the pictures of a job with ``stream: true`` as they are made; the job is over after the last one.

        Raises:
            JobTimedOut: `timeout` seconds have passed.
        """
        began, asked, last, seen = self._endpoint.now(), 0, 0, set[int]()
        while True:
            told = self._endpoint.call("GET", f"stream/{self.id}?after={last}")
            entries = [entry for entry in told.get("stream") or () if isinstance(entry, dict)]
            for entry in entries:
                last = max(last, int(entry.get("number") or 0))
                picture = read_picture(entry.get("output"))
                if picture is not None and picture.index not in seen:
                    seen |= {picture.index} if picture.index >= 0 else set()
                    asked = 0
                    yield picture
            if not entries and told.get("status") in OVER:
                self.refresh()
                return
            if timeout is not None and self._endpoint.now() - began > timeout:
                raise JobTimedOut(f"job {self.id} is not over after {timeout:g} s")
            if told.get("status") not in OVER:
                asked += 1
                self._endpoint.pause(asked)

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
        self.state = read_state(self._endpoint.call("POST", f"cancel/{self.id}"))
        return self.state


def _read(answer: requests.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except requests.JSONDecodeError:
        told = None
    if not isinstance(told, dict):
        raise EndpointError(f"{answer.url} did not answer with a JSON object", answer.status_code)
    return told


def _said(answer: requests.Response) -> str:
    try:
        told = answer.json()
    except requests.JSONDecodeError:
        told = {}
    words = told.get("error") or told.get("message") if isinstance(told, dict) else None
    return f"{answer.url} answered {answer.status_code}: {words or answer.reason or 'no explanation'}"
