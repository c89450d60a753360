"""A job on an endpoint elsewhere, watched until it is over."""

from __future__ import annotations

import asyncio
import inspect
import time
from typing import TYPE_CHECKING, Any

from worker.bridge.picture_links import embed_pictures
from worker.client import EndpointError
from worker.client.queue_reason import queue_reason
from worker.contract.compat import openai
from worker.errors import Cancelled, DeadlineExceeded
from worker.serving.gateway import JobError, JobSnapshot
from worker.telemetry.logs import get_logger
from worker.telemetry.progress import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from worker.client import AsyncEndpoint, AsyncJob, JobState
    from worker.common.interruption import Wish
    from worker.contract.answers import StreamedPiece
    from worker.serving.gateway import JobPhase

_log = get_logger("bridge")

_UNTOLD = "the endpoint's workers do not say why"
_PHASES: dict[str, JobPhase] = {
    "IN_QUEUE": "queued",
    "COMPLETED": "completed",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "CANCELLED": "cancelled",
}


class BridgedJob:
    """Implements `GatewayJob`; lives in one event loop.

    Args:
        endpoint: Where it runs.
        job: The job there.
        job_input: Its input.
        look_s: Seconds between two looks at the endpoint's workers while none has taken the job.
        give_up_s: Seconds after which it is cancelled if none has.
    """

    def __init__(
        self,
        endpoint: AsyncEndpoint,
        job: AsyncJob,
        job_input: Mapping[str, Any],
        *,
        look_s: float,
        give_up_s: float,
    ) -> None:
        self._endpoint = endpoint
        self._job = job
        self._look_s = look_s
        self._give_up_s = give_up_s
        fields = job_input.get(openai.INPUT)
        request = fields if isinstance(fields, dict) else {}
        self._keeps_links = request.get("response_format") == "url"
        self._streams = bool(job_input.get("stream")) or openai.wants_stream(request)
        self._state = job.state
        self._failure: JobError | None = None
        self._waits_for = ""
        self._events: list[Progress | StreamedPiece] = []
        self._changed = asyncio.Event()
        self._callbacks: list[Callable[[], Any]] = []
        self._watching = asyncio.ensure_future(self._watch())

    @property
    def id(self) -> str:
        """The job's id, as `GatewayJob.id` has it."""
        return self._job.id

    def when_over(self, callback: Callable[[], Any]) -> None:
        """Call `callback`, a function or a coroutine function, when the job is over."""
        self._callbacks.append(callback)

    def snapshot(self) -> JobSnapshot:
        """Return the job's state, as `GatewayJob.snapshot` has it."""
        if self._failure is not None:
            return JobSnapshot("failed")
        phase = _PHASES.get(self._state.status, "running")
        if phase == "queued" and self._waits_for:
            return JobSnapshot(phase, Progress(stage="queue", message=self._waits_for))
        return JobSnapshot(phase, Progress.from_json(self._state.progress) if self._state.progress else None)

    async def events(self) -> AsyncIterator[Progress | StreamedPiece]:
        """Yield the job's events, as `GatewayJob.events` has them."""
        told = 0
        while True:
            changed = self._changed
            while told < len(self._events):
                yield self._events[told]
                told += 1
            if self._watching.done():
                return
            await changed.wait()

    async def result(self) -> Any:
        """Return the answer, as `GatewayJob.result` has it; pictures behind links are in it as base64."""
        await asyncio.shield(self._watching)
        if self._failure is not None:
            raise self._failure
        return await embed_pictures(_answer(self._state), keep_openai_links=self._keeps_links)

    async def cancel(self) -> None:
        """Cancel the job, as `GatewayJob.cancel` has it."""
        if self._watching.done():
            return
        try:
            self._hear(await self._job.cancel())
        except EndpointError as error:
            _log.warning("a job could not be cancelled", job_id=self.id, why=str(error))

    async def interrupt(self, wish: Wish) -> bool:
        """End the job early, as `GatewayJob.interrupt` has it: by a cancel, as an endpoint knows nothing else."""
        if wish == "skip":
            return False
        await self.cancel()
        return True

    async def _watch(self) -> None:
        """Follow the job to its end."""
        waiting = asyncio.ensure_future(self._watch_queue())
        pictures = asyncio.ensure_future(self._collect_pictures())
        try:
            async for state in self._job.stream():
                self._hear(state)
            await pictures
        except EndpointError as error:
            self._fail(f"the endpoint no longer says how the job is: {error}", "endpoint_unreachable")
        finally:
            waiting.cancel()
            pictures.cancel()
            self._changed.set()
            for callback in self._callbacks:
                outcome = callback()
                if inspect.isawaitable(outcome):
                    _keep(asyncio.ensure_future(outcome))

    async def _collect_pictures(self) -> None:
        if not self._streams:
            return
        try:
            async for picture in self._job.pictures():
                piece = await embed_pictures(dict(picture.told), keep_openai_links=False)
                self._note(piece)
        except (EndpointError, JobError) as error:  # the answer has all pictures
            _log.warning("pictures could not be streamed", job_id=self.id, why=str(error))

    async def _watch_queue(self) -> None:
        """Say in the log why no worker takes the job, and end it when none has for too long."""
        began = time.monotonic()
        while True:
            left_s = began + self._give_up_s - time.monotonic()
            await asyncio.sleep(max(0.0, min(self._look_s, left_s)))
            if self._state.status != "IN_QUEUE":
                return
            try:
                self._waits_for = queue_reason(await self._endpoint.health()) or _UNTOLD
            except EndpointError as error:
                self._waits_for = f"the endpoint does not say how its workers are: {error}"
            waited_s = time.monotonic() - began
            _log.info("a job waits for a worker", job_id=self.id, waited_s=round(waited_s), why=self._waits_for)
            if waited_s >= self._give_up_s:
                self._fail(f"no worker took the job within {waited_s:.0f} s: {self._waits_for}", "no_worker")
                await self.cancel()
                return

    def _hear(self, state: JobState) -> None:
        self._state = state
        if state.progress and not state.over:
            self._note(Progress.from_json(state.progress))
        self._notify()

    def _note(self, event: Progress | StreamedPiece) -> None:
        self._events.append(event)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _fail(self, message: str, code: str) -> None:
        self._failure = self._failure or JobError(
            {"error": f"{code}: {message}", "error_code": code, "fault": "platform", "retryable": True, "details": {}}
        )


_background: set[asyncio.Future[Any]] = set()


def _keep(task: asyncio.Future[Any]) -> None:
    """Keep a reference to a task that nobody waits for: the loop itself holds none."""
    _background.add(task)
    task.add_done_callback(_background.discard)


def _answer(state: JobState) -> Any:
    """Return the output of a job that is over.

    Raises:
        JobError: it has none.
    """
    output = state.output
    if state.status == "CANCELLED":
        raise JobError(Cancelled("the job was cancelled").to_answer())
    if state.status == "TIMED_OUT":
        raise JobError(
            DeadlineExceeded("the platform gave the job up: its execution timeout or its time to live").to_answer()
        )
    if state.status == "FAILED" or (isinstance(output, dict) and "error_code" in output):
        told = output if isinstance(output, dict) else {}
        raise JobError(
            {"fault": "platform", **told, "error": str(told.get("error") or state.error or "the job failed")}
        )
    if output is None:
        lost = "the job is done, but the platform has no output of it: too large for it, or kept no longer"
        raise JobError({"error": f"platform_fault: {lost}", "error_code": "platform_fault", "fault": "platform"})
    return output
