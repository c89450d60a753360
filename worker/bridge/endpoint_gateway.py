"""Gateway to an endpoint elsewhere: RunPod's queue, or another `serve`."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from worker.bridge.bridged_job import BridgedJob
from worker.bridge.listing_cache import ListingCache
from worker.client import EndpointError
from worker.contract.compat import openai
from worker.serving.gateway import listing_job
from worker.serving.http_api.api_errors import RequestRefused, busy
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.client import AsyncEndpoint

_log = get_logger("bridge")

_CHANGES_MODELS = frozenset({"refresh", "prefetch", "models.prefetch", "models.remove"})
_BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


GIVE_UP_S = 900.0


@dataclass(frozen=True, slots=True)
class QueuePatience:
    """With an endpoint on which no worker takes a job.

    Attributes:
        look_s: Between two looks at its workers, which go to the log.
        give_up_s: After which the job is cancelled and answered with an error.
    """

    look_s: float = 10.0
    give_up_s: float = GIVE_UP_S


class EndpointGateway:
    """Implements `JobGateway`; lives in one event loop.

    Args:
        endpoint: Takes the jobs.
        listings: File of listings; None: they are kept in memory alone.
        patience: With jobs that wait.

    Raises:
        ListingsUnreadable: the file holds something else.
    """

    def __init__(self, endpoint: AsyncEndpoint, listings: Path | None, patience: QueuePatience) -> None:
        self._endpoint = endpoint
        self._patience = patience
        self.listings = ListingCache(self._ask_listing, listings)
        self._running: set[BridgedJob] = set()

    async def submit(self, job_input: Mapping[str, Any]) -> BridgedJob:
        """Take a job, as `JobGateway.submit` has it."""
        job = await self._run(deliverable(job_input))
        if _changes_models(job_input):
            job.when_over(self.listings.expire)
        job.when_over(self.listings.refresh_stale)
        return job

    async def listing(self, path: str) -> Any:
        """Return a listing, as `JobGateway.listing` has it; a known one is answered without asking the endpoint."""
        return await self.listings.get(path)

    @property
    def waiting(self) -> int:
        """Number of this bridge's jobs that no worker has taken yet."""
        return sum(job.snapshot().phase == "queued" for job in self._running)

    async def close(self) -> None:
        """Cancel all jobs: nobody would fetch their pictures."""
        for job in list(self._running):
            await job.cancel()

    async def _ask_listing(self, path: str) -> Any:
        return await (await self._run(listing_job(path))).result()

    async def _run(self, job_input: Mapping[str, Any]) -> BridgedJob:
        try:
            sent = await self._endpoint.run(job_input)
        except EndpointError as error:
            _log.warning("the endpoint did not take a job", why=str(error))
            if error.status in _BUSY:
                raise busy(f"the endpoint takes no more jobs now: {error}") from None
            raise RequestRefused(HTTPStatus.BAD_GATEWAY, f"the endpoint did not take the job: {error}") from None
        job = BridgedJob(
            self._endpoint, sent, job_input, look_s=self._patience.look_s, give_up_s=self._patience.give_up_s
        )
        self._running.add(job)
        job.when_over(lambda: self._running.discard(job))
        return job


def _changes_models(job_input: Mapping[str, Any]) -> bool:
    api = job_input.get("api")
    asked = str(api.get("endpoint", "")) if isinstance(api, dict) else ""
    return job_input.get("type") in _CHANGES_MODELS or asked.rstrip("/").rpartition("/")[2].startswith("refresh-")


def deliverable(job_input: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a job whose pictures may come as links where they are too large for an answer: the bridge fetches them."""
    payload = job_input.get("payload")
    output = payload.get("output") if isinstance(payload, dict) else None
    if isinstance(payload, dict) and isinstance(output, dict) and output.get("delivery") == "base64":
        return {**job_input, "payload": {**payload, "output": {**output, "delivery": "auto"}}}
    fields = job_input.get(openai.INPUT)
    if not isinstance(fields, dict) or fields.get("response_format") not in {None, "", "b64_json"}:
        return job_input
    output = fields.get("output")
    if output is not None and not isinstance(output, dict):
        return job_input
    lenient = {name: value for name, value in fields.items() if name != "response_format"}
    return {**job_input, openai.INPUT: {**lenient, "output": {"delivery": "auto", **(output or {})}}}
