"""RunPod's paths and shapes: ``/run``, ``/runsync``, ``/status``, ``/stream`` and ``/cancel``."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from worker.common.cancellation import unless_set
from worker.common.strict_json import encode
from worker.net.addresses import url_host
from worker.serving.http_api.api_document import JOB_BODY, JOB_RESULT
from worker.serving.http_api.api_errors import RequestRefused, busy
from worker.serving.http_api.request_body import parse_job
from worker.serving.http_api.trace_header import current_traceparent
from worker.serving.job_table import JobIdTaken, JobRequest, QueueFull

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.serving.http_api.auth import ApiKey
    from worker.serving.http_api.request_body import BodyReader
    from worker.serving.job_table import JobRecord, JobTable

DEFAULT_WAIT_MS, LONGEST_WAIT_MS = 90_000, 300_000
"""Of ``/runsync``; the longest is below the 5.5 minutes of RunPod's load balancing."""
STREAM_S = 10.0
CANCEL_S = 10.0
JOB_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
"""An id that a client may choose: it stands in paths."""


@dataclass(frozen=True, slots=True)
class JobApi:
    """The state behind the routes.

    Attributes:
        table: The jobs.
        takes_jobs: Returns whether the worker has started and is not stopping.
        stopping: Set when the server shuts down; ends whatever only waits.
        bodies: Reads the requests.
    """

    table: JobTable
    takes_jobs: Callable[[], bool]
    stopping: asyncio.Event
    bodies: BodyReader

    async def submit(self, request: Request) -> tuple[JobRecord, bool]:
        """Put the job in `request` into the queue; return it, and whether the client has named it.

        Raises:
            RequestRefused: it is no job, or can't be taken now.
        """
        self._check_that_jobs_are_taken()
        job_request, is_named = await asyncio.to_thread(_read_job, await self.bodies.read(request))
        self._check_that_jobs_are_taken()
        try:
            return self.table.submit(job_request), is_named
        except JobIdTaken:
            raise RequestRefused(HTTPStatus.CONFLICT, "this id belongs to another job") from None
        except QueueFull:
            raise busy("too many jobs wait; try again later") from None

    def known(self, job_id: str) -> JobRecord:
        """Return the job with this id.

        Raises:
            RequestRefused: there is none.
        """
        job = self.table.get(job_id)
        if job is None:
            raise RequestRefused(HTTPStatus.NOT_FOUND, "there is no such job (any more)")
        return job

    def _check_that_jobs_are_taken(self) -> None:
        if not self.takes_jobs():
            raise busy("the worker is starting or stopping", HTTPStatus.SERVICE_UNAVAILABLE)


def job_router(api: JobApi, key: ApiKey) -> APIRouter:
    """Return the routes."""
    router = APIRouter(dependencies=[Depends(key)], tags=["jobs"])

    @router.post("/run", openapi_extra=JOB_BODY, responses=JOB_RESULT, summary="Put a job into the queue.")
    async def run(request: Request) -> Response:
        job, _ = await api.submit(request)
        return _json(job.to_json())

    @router.post("/runsync", openapi_extra=JOB_BODY, responses=JOB_RESULT, summary="Run a job and wait for its result.")
    async def runsync(
        request: Request, wait: Annotated[int, Query(ge=0, description="Milliseconds.")] = DEFAULT_WAIT_MS
    ) -> Response:
        job, is_named = await api.submit(request)
        seconds = min(wait or DEFAULT_WAIT_MS, LONGEST_WAIT_MS) / 1000
        over = asyncio.ensure_future(_until_over(job, seconds))
        gone = asyncio.ensure_future(_until_gone(request))
        await asyncio.wait({over, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not over.done() and not is_named:  # nobody else knows its id
            api.table.cancel(job)
        over.cancel()
        gone.cancel()
        return _json(job.to_json())

    @router.post("/status/{id}", include_in_schema=False)
    @router.get("/status/{id}", responses=JOB_RESULT, summary="Ask for a job's result.")
    async def status(id: str) -> Response:  # noqa: A002 - the name in RunPod's paths
        return _json(api.known(id).to_json())

    @router.post("/stream/{id}", include_in_schema=False)
    @router.get("/stream/{id}", summary="Progress and pictures of a job, held up to 10 s for news.")
    async def stream(id: str, after: Annotated[int, Query(ge=0)] = 0) -> Response:  # noqa: A002 - as above
        job = api.known(id)
        changed = job.changed
        if not job.over and not job.after(after):
            await unless_set(api.stopping, _wait(changed, STREAM_S))
        new = [{"number": number, "output": told} for number, told in job.after(after)]
        done = {"output": job.answer} if job.over else {}
        return _json({"id": job.id, "status": job.status, "stream": new, **done})

    @router.post("/cancel/{id}", responses=JOB_RESULT, summary="Cancel a job; the WebUI is interrupted.")
    async def cancel(id: str) -> Response:  # noqa: A002 - as above
        job = api.known(id)
        api.table.cancel(job)
        await _until_over(job, CANCEL_S)
        return _json(job.to_json())

    return router


def _read_job(body: bytes) -> tuple[JobRequest, bool]:
    """Return the job in a body, and whether the client has named it; takes a while for a large one.

    Raises:
        RequestRefused: it is no job; names the field.
    """
    job = parse_job(body)
    if not isinstance(job, dict) or "input" not in job:
        raise _bad('the body must be {"input": {…}}')
    given, webhook, policy = job.get("id"), job.get("webhook"), job.get("policy")
    if policy is not None and not _is_policy(policy):
        raise _bad("policy: must be an object; its executionTimeout is a number of milliseconds")
    if given is not None and not (isinstance(given, str) and JOB_ID.fullmatch(given)):
        raise _bad("id: must be a text of 1 to 128 letters, digits and the signs . _ -")
    if webhook is not None:
        _check_webhook(webhook)
    caller = current_traceparent()
    return JobRequest(given or uuid.uuid4().hex, _digest(job), body, webhook, caller), given is not None


def _check_webhook(webhook: object) -> None:
    if not isinstance(webhook, str):
        raise _bad("webhook: must be an http(s) address")
    try:
        url_host(webhook)
    except ValueError as error:
        raise _bad(f"webhook: {error}") from None


def _bad(message: str) -> RequestRefused:
    return RequestRefused(HTTPStatus.BAD_REQUEST, message)


def _digest(job: Mapping[str, Any]) -> bytes:
    """Return a hash of a job that does not depend on the order of its fields."""
    try:
        canonical = orjson.dumps(job, option=orjson.OPT_SORT_KEYS)
    except (TypeError, ValueError):  # large integers, half a surrogate pair
        canonical = json.dumps(job, sort_keys=True).encode()
    return hashlib.sha256(canonical).digest()


def _is_policy(policy: object) -> bool:
    if not isinstance(policy, dict):
        return False
    limit = policy.get("executionTimeout")
    return limit is None or (type(limit) in (int, float) and limit >= 0)


async def _until_over(job: JobRecord, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not job.over and loop.time() < end:
        await _wait(job.changed, end - loop.time())


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


async def _wait(event: asyncio.Event, seconds: float) -> None:
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({waiting}, timeout=max(0.0, seconds))
    finally:
        waiting.cancel()


def _json(told: Mapping[str, Any], status: int = HTTPStatus.OK) -> Response:
    return Response(encode(told), status, media_type="application/json")
