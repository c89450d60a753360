"""Gateway between an HTTP API for foreign clients and the worker that runs their jobs.

The routers of A1111's and OpenAI's API know jobs by this interface alone. Two things implement it: the worker in the
same process (`worker.serving.local_gateway`), and the bridge, which forwards jobs to an endpoint elsewhere
(`worker.bridge`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from worker.contract.compat import openai
from worker.errors import all_errors
from worker.serving.http_api.api_errors import RequestRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Mapping

    from starlette.requests import Request

    from worker.common.interruption import Wish
    from worker.contract.answers import StreamedPiece
    from worker.telemetry.progress import Progress

T = TypeVar("T")
JobPhase = Literal["queued", "running", "completed", "failed", "cancelled"]

MODELS = "/v1/models"

_HTTP_STATUS = {error.code: error.http_status for error in all_errors()}


class JobError(RequestRefused):
    """A job that ended with an error, or was cancelled.

    Attributes:
        answer: The job's answer: ``{error, error_code, fault, retryable, details}``.
    """

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.answer = dict(answer)
        self.code = str(answer.get("error_code") or "platform_fault")
        super().__init__(
            _HTTP_STATUS.get(self.code, HTTPStatus.BAD_GATEWAY),
            str(answer.get("error", "the job failed")).removeprefix(f"{self.code}: "),
        )

    @property
    def retryable(self) -> bool:
        """True if the same job may succeed later."""
        return bool(self.answer.get("retryable"))

    @property
    def problems(self) -> list[Mapping[str, Any]]:
        """The mistakes in the job, each ``{path, message, suggestion?}``."""
        details = self.answer.get("details")
        return list(details.get("problems") or ()) if isinstance(details, dict) else []


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """State of a job at one moment.

    Attributes:
        phase: Where it is in its life.
        progress: As last reported; None before the first report and on a job that only waits.
    """

    phase: JobPhase
    progress: Progress | None = None

    @property
    def is_over(self) -> bool:
        """True once the job has ended, with pictures or without."""
        return self.phase in {"completed", "failed", "cancelled"}


class GatewayJob(Protocol):
    """A job that a gateway has taken."""

    @property
    def id(self) -> str:
        """Its name at the worker."""

    def snapshot(self) -> JobSnapshot:
        """Return its state as last heard; asks nobody."""

    def events(self) -> AsyncIterator[Progress | StreamedPiece]:
        """Yield its progress and, of a job with ``stream: true``, its pictures; end when the job is over.

        May be used once, and beside `result`.
        """

    async def result(self) -> Any:
        """Wait for its answer: an object of ours, or, of a job in a foreign form, that form's own.

        Cancelling this wait leaves the job as it is.

        Raises:
            JobError: it ended with an error or was cancelled.
        """

    async def cancel(self) -> None:
        """Stop it and return once that has been asked for; a job that is over stays as it is."""

    async def interrupt(self, wish: Wish) -> bool:
        """Have it, or the batch that is being made, end early with what has been made by then.

        A job of which nothing is being made is cancelled by an interrupt. Returns False where batches can't be skipped.
        """


class JobGateway(Protocol):
    """Runs jobs for the routers of an HTTP API."""

    async def submit(self, job_input: Mapping[str, Any]) -> GatewayJob:
        """Put a job into the queue.

        Args:
            job_input: Its input in any form that the contract accepts.

        Raises:
            RequestRefused: it can't be taken now: the queue is full, or the worker starts, stops or is not reached.
        """

    async def listing(self, path: str) -> Any:
        """Return a listing in its API's own shape, never waiting behind a job that makes pictures.

        Args:
            path: On the WebUI: ``/sdapi/v1/sd-models``, ``/controlnet/model_list``; or `MODELS`, which is OpenAI's list
                of checkpoints and presets.

        Raises:
            JobError: the worker does not offer it, or the WebUI has no answer.
            RequestRefused: as for `submit`.
        """


def listing_job(path: str) -> dict[str, Any]:
    """Return the input of the job that answers `JobGateway.listing`."""
    if path == MODELS:
        return {openai.ROUTE: path}
    return {"api": {"method": "GET", "endpoint": path}}


async def result_or_cancel(job: GatewayJob, request: Request) -> Any:
    """Return the answer of `job`, which is cancelled when the client of `request` hangs up.

    The request's body must have been read.

    Raises:
        JobError: the job ended with an error or was cancelled.
    """
    return await cancelled_with_client(job.result(), job, request)


async def cancelled_with_client(work: Awaitable[T], job: GatewayJob, request: Request) -> T:
    """Return the result of `work`, which waits for `job`; cancel the job when the client of `request` hangs up."""
    waiting = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            await job.cancel()
        return await waiting
    finally:
        waiting.cancel()
        gone.cancel()


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
