"""Gateway to the worker in the same process: jobs through the table that RunPod's paths use as well."""

from __future__ import annotations

import asyncio
import json
import uuid
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from worker.errors import Cancelled
from worker.serving.gateway import JobError, JobSnapshot, listing_job
from worker.serving.http_api.api_errors import busy
from worker.serving.http_api.trace_header import current_traceparent
from worker.serving.job_table import JobRequest, QueueFull
from worker.telemetry.progress import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from worker.common.interruption import Wish
    from worker.contract.answers import StreamedPiece
    from worker.serving.gateway import JobPhase
    from worker.serving.job_table import JobRecord, JobStatus, JobTable

_PHASES: dict[JobStatus, JobPhase] = {
    "IN_QUEUE": "queued",
    "IN_PROGRESS": "running",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
}


class LocalGateway:
    """Implements `JobGateway`; lives in the event loop of its table.

    Args:
        table: The jobs.
        handle: Answers a job at once, beside the table: for listings, which must not wait for pictures.
        takes_jobs: Returns whether the worker has started and is not stopping.
        interrupt: Has a job's pictures end early; returns False where none are being made.
    """

    def __init__(
        self,
        table: JobTable,
        handle: Callable[[dict[str, Any]], Coroutine[Any, Any, Any]],
        *,
        takes_jobs: Callable[[], bool],
        interrupt: Callable[[str, Wish], bool],
    ) -> None:
        self._table = table
        self._handle = handle
        self._takes_jobs = takes_jobs
        self._interrupt = interrupt

    async def submit(self, job_input: Mapping[str, Any]) -> LocalJob:
        """Take a job, as `JobGateway.submit` has it."""
        self._check_that_jobs_are_taken()
        body = (await asyncio.to_thread(json.dumps, {"input": dict(job_input)})).encode()
        self._check_that_jobs_are_taken()
        try:
            request = JobRequest(uuid.uuid4().hex, b"", body, traceparent=current_traceparent())
            record = self._table.submit(request)
        except QueueFull:
            raise busy("too many jobs wait; try again later") from None
        return LocalJob(self._table, record, self._interrupt)

    async def listing(self, path: str) -> Any:
        """Return a listing, as `JobGateway.listing` has it."""
        self._check_that_jobs_are_taken()
        answer = await self._handle({"id": uuid.uuid4().hex, "input": listing_job(path)})
        if isinstance(answer, dict) and "error_code" in answer:
            raise JobError(answer)
        return answer

    def _check_that_jobs_are_taken(self) -> None:
        if not self._takes_jobs():
            raise busy("the worker is starting or stopping", HTTPStatus.SERVICE_UNAVAILABLE)


class LocalJob:
    """Implements `GatewayJob`."""

    def __init__(self, table: JobTable, record: JobRecord, interrupt: Callable[[str, Wish], bool]) -> None:
        self._table = table
        self._record = record
        self._interrupt = interrupt

    @property
    def id(self) -> str:
        """The job's id, as `GatewayJob.id` has it."""
        return self._record.id

    def snapshot(self) -> JobSnapshot:
        """Return the job's state, as `GatewayJob.snapshot` has it."""
        updates = self._record.updates
        return JobSnapshot(_PHASES[self._record.status], Progress.from_json(updates[-1][1]) if updates else None)

    async def events(self) -> AsyncIterator[Progress | StreamedPiece]:
        """Yield the job's events, as `GatewayJob.events` has them."""
        last = 0
        while True:
            changed = self._record.changed
            for number, told in self._record.after(last):
                last = number
                yield told if "index" in told or "error" in told else Progress.from_json(told)  # type: ignore[misc]  # a piece
            if self._record.over and not self._record.after(last):
                return
            await changed.wait()

    async def result(self) -> Any:
        """Return the answer, as `GatewayJob.result` has it."""
        while not self._record.over:
            await self._record.changed.wait()
        if self._record.status == "CANCELLED":
            raise JobError(Cancelled("the job was cancelled").to_answer())
        if self._record.status == "FAILED":
            raise JobError(self._record.answer)
        return self._record.answer

    async def cancel(self) -> None:
        """Cancel the job, as `GatewayJob.cancel` has it."""
        self._table.cancel(self._record)

    async def interrupt(self, wish: Wish) -> bool:
        """End the job early, as `GatewayJob.interrupt` has it."""
        if not self._interrupt(self.id, wish) and wish == "interrupt":
            self._table.cancel(self._record)
        return True
