"""Shared parts of the routes of A1111's API: the body of a request, its client, and the way to a job's answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.contract.base.json_guard import shown
from worker.serving.gateway import JobError, result_or_cancel
from worker.serving.http_api.request_body import parse_json
from worker.serving.sdapi.clients import ClientRegistry
from worker.serving.sdapi.sdapi_errors import WebUIJobError, unprocessable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

    from worker.serving.gateway import JobGateway
    from worker.serving.http_api.request_body import BodyReader

_NO_JSON = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data")
"""Media types that a page of another origin may post unasked; A1111 reads no JSON in them either."""


@dataclass(frozen=True, slots=True)
class WebUIApi:
    """A1111's API over a job gateway.

    Attributes:
        gateway: Runs the jobs.
        bodies: Reads the requests.
        clients: Those that use it.
    """

    gateway: JobGateway
    bodies: BodyReader
    clients: ClientRegistry = field(default_factory=ClientRegistry)

    async def read_body(self, request: Request) -> dict[str, Any]:
        """Return the JSON object in `request`, whatever its Content-Type says of it.

        Raises:
            RequestRefused: there is none.
        """
        media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type in _NO_JSON:
            raise unprocessable(f"the body must be JSON (Content-Type: application/json), not {media_type}")
        data = await self.bodies.read(request)
        if not data.strip():
            raise unprocessable("the body is empty; send a JSON object, {} for A1111's defaults")
        body = await asyncio.to_thread(parse_json, data)
        if not isinstance(body, dict):
            raise unprocessable(f"the body must be a JSON object, not {shown(body)}")
        return body

    async def run(self, request: Request, job_input: Mapping[str, Any], *, field: str = "") -> dict[str, Any]:
        """Return the answer of a job that makes no picture of its own; it is cancelled when the client hangs up.

        Raises:
            WebUIJobError: it failed; `field` names the part of the body that the job stands for.
            RequestRefused: it can't be taken now.
        """
        try:
            answer = await result_or_cancel(await self.gateway.submit(job_input), request)
        except JobError as failure:
            raise WebUIJobError(failure, field=field) from None
        return answer if isinstance(answer, dict) else {}
