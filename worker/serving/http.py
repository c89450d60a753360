"""The worker behind plain HTTP, for people who run elsewhere: RunPod's paths and shapes on the same service.

``POST /run``, ``/runsync`` and ``/cancel/{id}``; ``GET /status/{id}`` and ``/stream/{id}``; the probes ``/health``,
``/ping`` and ``/ready``.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from worker.serving.jobs import Job, Jobs, LineFull, OtherJob
from worker.serving.probes import readiness, status
from worker.strict_json import encode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    Endpoint = Callable[[Request], Awaitable[Response]]

RUNSYNC_S = 90.0
LONGEST_RUNSYNC_S = 300.0
STREAM_S = 10.0
MILLISECONDS = 1000.0
JOB_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
"""What a client may call a job: it stands in paths."""


class Refused(Exception):
    """A request that is answered with `status` and a sentence."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def application(
    jobs: Jobs, health: Callable[[], Mapping[str, Any]], *, api_key: str | None, max_bytes: int
) -> Starlette:
    """Return the ASGI application.

    Args:
        jobs: The table of jobs.
        health: Returns the worker's state.
        api_key: What clients have to send; None: nothing. Probes need no key.
        max_bytes: Of a request.
    """
    api = _Api(jobs, health, max_bytes)

    def locked(endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            try:
                _check_key(request, api_key)
                return await endpoint(request)
            except OtherJob:
                return _json({"error": "this id belongs to another job"}, 409)
            except LineFull:
                return _json({"error": "too many jobs wait; try again later"}, 429, {"Retry-After": "5"})
            except Refused as refusal:
                return _json({"error": str(refusal)}, refusal.code)

        return checked

    async def unknown(_: Request, error: Exception) -> Response:
        code = getattr(error, "status_code", 500)
        told = {404: "there is no such path", 405: "this path wants another method"}
        return _json({"error": told.get(code, "the request can't be answered")}, code)

    return Starlette(
        exception_handlers={HTTPException: unknown},
        routes=[
            Route("/run", locked(api.run), methods=["POST"]),
            Route("/runsync", locked(api.runsync), methods=["POST"]),
            Route("/status/{id}", locked(api.status), methods=["GET", "POST"]),
            Route("/stream/{id}", locked(api.stream), methods=["GET", "POST"]),
            Route("/cancel/{id}", locked(api.cancel), methods=["POST"]),
            Route("/health", api.health, methods=["GET"]),
            Route("/ping", api.ping, methods=["GET"]),
            Route("/ready", api.ready, methods=["GET"]),
        ],
    )


class _Api:
    """What each path does."""

    def __init__(self, jobs: Jobs, health: Callable[[], Mapping[str, Any]], max_bytes: int) -> None:
        self._jobs = jobs
        self._health = health
        self._max_bytes = max_bytes

    async def run(self, request: Request) -> Response:
        return _json(self._jobs.submit(*await _order(request, self._max_bytes)).to_json())

    async def runsync(self, request: Request) -> Response:
        job = self._jobs.submit(*await _order(request, self._max_bytes))
        wait = _number(request, "wait")  # milliseconds, as RunPod has it
        await _until_over(job, min(wait / MILLISECONDS if wait else RUNSYNC_S, LONGEST_RUNSYNC_S))
        return _json(job.to_json())

    async def status(self, request: Request) -> Response:
        return _json(self._known(request).to_json())

    async def stream(self, request: Request) -> Response:
        job, last = self._known(request), _number(request, "after")
        news = job.news
        if not job.over and not job.after(last):
            await _within(news, STREAM_S)
        new = [{"number": number, "output": told} for number, told in job.after(last)]
        done = {"output": job.answer} if job.over else {}
        return _json({"id": job.id, "status": job.status, "stream": new, **done})

    async def cancel(self, request: Request) -> Response:
        job = self._known(request)
        self._jobs.cancel(job)
        await _until_over(job, STREAM_S)
        return _json(job.to_json())

    async def health(self, _: Request) -> Response:
        counts = self._jobs.counts()
        busy = int(counts["inProgress"] > 0)
        return _json({**self._health(), "jobs": counts, "workers": {"idle": 1 - busy, "running": busy}})

    async def ping(self, _: Request) -> Response:
        return Response(status_code=status(str(self._health().get("state"))))

    async def ready(self, _: Request) -> Response:
        return Response(status_code=readiness(str(self._health().get("state"))))

    def _known(self, request: Request) -> Job:
        job = self._jobs.get(request.path_params["id"])
        if job is None:
            raise Refused(404, "there is no such job (any more)")
        return job


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    return int(text[:9]) if text.isascii() and text.isdigit() else 0


async def _order(request: Request, max_bytes: int) -> tuple[str, dict[str, Any]]:
    """Return the job in a request and its id; the client may give one, and gets the same job for the same id."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > max_bytes:
            raise Refused(413, f"a request may have {max_bytes} bytes")
    try:
        job = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            job = json.loads(body)  # large integers and NaN, which the job's own checks have better words for
        except (ValueError, RecursionError):
            raise Refused(400, "the body is not JSON") from None
    if not isinstance(job, dict) or "input" not in job:
        raise Refused(400, 'the body must be {"input": {…}}')
    given, webhook, policy = job.get("id"), job.get("webhook"), job.get("policy")
    if policy is not None and not _is_policy(policy):
        raise Refused(400, "policy: must be an object; its executionTimeout is a number of milliseconds")
    if given is not None and not (isinstance(given, str) and JOB_ID.fullmatch(given)):
        raise Refused(400, "id: must be a text of 1 to 128 letters, digits and the signs . _ -")
    if webhook is not None and not (isinstance(webhook, str) and webhook.startswith(("http://", "https://"))):
        raise Refused(400, "webhook: must be an http(s) address")
    return given or uuid.uuid4().hex, job


def _is_policy(policy: object) -> bool:
    if not isinstance(policy, dict):
        return False
    limit = policy.get("executionTimeout")
    return limit is None or (type(limit) in (int, float) and limit >= 0)


def _check_key(request: Request, api_key: str | None) -> None:
    if api_key is None:
        return
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    fits = hmac.compare_digest(given.strip().encode(), api_key.encode())
    if not fits or scheme.lower() != "bearer":
        raise Refused(401, "send Authorization: Bearer with the worker's HTTP_API_KEY")


async def _until_over(job: Job, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not job.over and loop.time() < end:
        await _within(job.news, end - loop.time())


async def _within(event: asyncio.Event, seconds: float) -> None:
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait({waiting}, timeout=max(0.0, seconds))
    waiting.cancel()


def _json(told: Mapping[str, Any], code: int = 200, more: Mapping[str, str] | None = None) -> Response:
    return Response(encode(told), code, dict(more or {}), "application/json")
