"""Requests to an endpoint: sent again where that helps, refusals explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from worker.client.job_state import EndpointError
from worker.client.polling import BUSY, FIRST_PAUSE_S, LONGEST_PAUSE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

REQUEST_S = 120.0
TRIES = 4
LONGEST_ASKED_S = 30.0

WORKER_HEADER = "X-Runpod-Worker-Id"
"""On load-balancing endpoints: names the worker that answered. Sent back, it leads to that worker again."""
NO_WORKERS = "no workers available"
NO_WORKERS_PAUSE_S = 5.0
"""RunPod asks for 5 to 10 s before the next try."""
STARTING = 503
"""With ``Retry-After``: a worker that is starting or stopping has not taken the job."""
_HINTS = {
    "not allowed for qb api": "this is a queue endpoint; give its id, not an address of load balancing",
    NO_WORKERS: "no worker was free within two minutes; raise the endpoint's workers, or try later",
    "affinity_worker_gone": "the worker that has this job is gone, and the job with it",
    "worker_timeout": "the worker that has this job is busy; ask again later",
}
_STATUS_HINTS = {
    502: "on RunPod: no worker listens on the endpoint's PORT",
    524: "the platform ends requests after 5.5 minutes; use `run` and wait for the job",
}


@dataclass(frozen=True, slots=True)
class EndpointReply:
    """An endpoint's answer.

    Attributes:
        told: Its JSON.
        worker: The worker that gave it, on a load-balancing endpoint.
    """

    told: dict[str, Any]
    worker: str | None


class _Again(Exception):
    """A failure that may pass.

    Attributes:
        error: What is raised if it does not.
        asked_s: Seconds that the endpoint asked to wait; 0: it did not say.
    """

    def __init__(self, error: EndpointError, asked_s: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.asked_s = asked_s


class Requester:
    """Sends requests to one endpoint; thread-safe.

    Args:
        url: Of the endpoint.
        headers: Sent with every request.
        session: For HTTP; default: a new one.
        sleep: Waits between tries.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        session: requests.Session | None,
        sleep: Callable[[float], None],
    ) -> None:
        self._url = url
        self._headers = headers
        self._session = session or requests.Session()
        self._sleep = sleep

    def request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        again: tuple[int, ...] = BUSY,
        worker: str | None = None,
    ) -> EndpointReply:
        """Send a request, again where that may help, and return the answer.

        Args:
            method: Of the request.
            path: Below the endpoint.
            body: Sent as JSON.
            again: Statuses after which it is sent again. A broken connection is tried again for GET alone: a job that
                was posted may have been taken.
            worker: The worker that has to answer, on a load-balancing endpoint.

        Raises:
            EndpointError: refused, or not reachable.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_after_attempt(TRIES),
            wait=_pause_s,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return retrying(self._send, method, path, body, again, worker)
        except _Again as failure:
            raise failure.error from None

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, again: tuple[int, ...], worker: str | None
    ) -> EndpointReply:
        # strict: no other worker knows the job
        affinity = {} if worker is None else {WORKER_HEADER: f"strict {worker}"}
        try:
            answer = self._session.request(
                method, f"{self._url}/{path}", json=body, headers={**self._headers, **affinity}, timeout=REQUEST_S
            )
        except requests.exceptions.InvalidJSONError as error:
            raise EndpointError(f"the job can't be sent as JSON: {error}") from error
        except requests.RequestException as error:
            failure = EndpointError(f"{self._url} can't be reached: {_why(error)}")
            raise (_Again(failure) if method == "GET" else failure) from error
        if answer.status_code < 400:  # noqa: PLR2004 - HTTP's own boundary
            return EndpointReply(_read(answer), answer.headers.get(WORKER_HEADER))
        failure, asked_s = EndpointError(_said(answer), answer.status_code), _asked_s(answer)
        if NO_WORKERS in str(failure):
            raise _Again(failure, max(asked_s, NO_WORKERS_PAUSE_S))
        was_not_taken = answer.status_code == STARTING and "Retry-After" in answer.headers
        may_pass = answer.status_code in again or was_not_taken
        raise _Again(failure, asked_s) if may_pass and asked_s <= LONGEST_ASKED_S else failure


def _why(error: requests.RequestException) -> str:
    """Return the system's word for a failure, without the names of the libraries that it went through."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    said, inner = str(error), error.__cause__ or error.__context__
    while inner is not None:
        said = inner.strerror if isinstance(inner, OSError) and inner.strerror else said
        inner = inner.__cause__ or inner.__context__
    return said


def _read(answer: requests.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except (ValueError, RecursionError):
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
    except (ValueError, RecursionError):
        told = {}
    words = str((told.get("error") or told.get("message") or "") if isinstance(told, dict) else "")
    hint = next((hint for sign, hint in _HINTS.items() if sign in words.lower()), _STATUS_HINTS.get(answer.status_code))
    said = f"{answer.url} answered {answer.status_code}: {words or answer.reason or 'no explanation'}"
    return f"{said} ({hint})" if hint else said


def _pause_s(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome is not None else None
    asked_s = failure.asked_s if isinstance(failure, _Again) else 0.0
    return max(asked_s, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**state.attempt_number))
