"""The job handler: a job in, an answer out, whatever happens in between."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from worker.common.cancellation import cancel_and_wait
from worker.errors import InternalError, WorkerError
from worker.serving.answer import SealedAnswer, SealedItems, seal
from worker.serving.local_result import lines_for_people, save_locally
from worker.serving.reporter import Reporter
from worker.telemetry.logs import get_logger
from worker.telemetry.progress import Throttle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from worker.settings import Settings
    from worker.telemetry.local_run import LocalRun
    from worker.telemetry.progress import PieceSink, ProgressSink

_log = get_logger("serving")

PROGRESS_INTERVAL_S = 1.0
PROGRESS_PERCENT = 1.0


class WorkerProtocol(Protocol):
    """The part of the worker that the handler needs."""

    async def run(
        self, job: Mapping[str, Any], *, on_progress: ProgressSink, on_piece: PieceSink | None = None
    ) -> dict[str, Any]:
        """Return the answer to one job; raises only CancelledError, and that once the WebUI is idle again.

        `on_piece` is awaited with each picture of a job that streams, in order, and never after this has returned.
        """

    def drain(self) -> None:
        """Note that no more jobs come, and start the grace of those that run. Thread-safe."""

    def on_death(self, callback: Callable[[WorkerError], None]) -> None:
        """Have `callback` called, from any thread, when the WebUI is gone for good."""


class JobHandler:
    """Runs jobs for a platform that hands them out.

    Attributes:
        worker: Runs the jobs.
        post: Sends one progress update of a job; None while there is nowhere to send it.
        post_piece: Sends one picture of a job that streams; None likewise.
        streamed: Ids of jobs with streamed pictures whose answer has not been sent yet.
        failure: The reason why this worker is of no more use, None while it is.
    """

    def __init__(self, worker: WorkerProtocol, settings: Settings) -> None:
        self.worker = worker
        self.settings = settings
        self.post: Callable[[Mapping[str, Any], dict[str, Any]], Awaitable[None]] | None = None
        self.post_piece: Callable[[Mapping[str, Any], dict[str, Any]], Awaitable[None]] | None = None
        self.streamed: set[str] = set()
        self.failure: WorkerError | None = None

    def fail(self, error: WorkerError) -> None:
        """Stop as at SIGTERM, but with a failure at the end, so that the platform replaces this worker."""
        if self.failure is None:
            self.failure = error
            _log.error("the WebUI is gone; this worker ends", error_code=error.code, error=error.message)
            os.kill(os.getpid(), signal.SIGTERM)

    async def handle(self, job: dict[str, Any]) -> SealedAnswer | SealedItems:
        """Return the answer to one job: strict JSON within the platform's limit; raises only CancelledError."""
        throttle = Throttle(min_interval_s=PROGRESS_INTERVAL_S, min_percent=PROGRESS_PERCENT, clock=time.monotonic)
        async with Reporter(lambda body: self._report(job, body), throttle) as sink:
            return await self._answer(job, sink)

    async def handle_locally(self, job: dict[str, Any], run: LocalRun) -> SealedAnswer | SealedItems:
        """Answer the one job of a local run, save its pictures in OUT_DIR and note what a person is told."""
        answer = await self._answer(job, run.on_progress)
        told = answer if isinstance(answer, dict) else {"items": answer}
        try:
            run.lines = lines_for_people(told, save_locally(told, self.settings.out_dir))
        except OSError as error:
            message = f"the answer can't be written to {self.settings.out_dir}: {error.strerror}"
            answer = SealedAnswer(InternalError(message, hint="Set OUT_DIR.").to_answer())
            run.lines = lines_for_people(answer)
        return answer

    async def _answer(self, job: dict[str, Any], on_progress: ProgressSink) -> SealedAnswer | SealedItems:
        try:
            piece = partial(self._stream, job) if self.post_piece is not None else None
            answer: object = await cancel_and_wait(self.worker.run(job, on_progress=on_progress, on_piece=piece))
            return seal(answer, limit_bytes=self.settings.max_output_bytes)
        except Exception:  # noqa: BLE001 - the boundary: the platform's client would post a traceback
            _log.exception("a job ended in a defect", job_id=job.get("id"))
            return SealedAnswer(InternalError("a defect in the worker; its log has the details").to_answer())

    async def _stream(self, job: Mapping[str, Any], piece: dict[str, Any]) -> None:
        if self.post_piece is not None:
            self.streamed.add(str(job.get("id")))
            await self.post_piece(job, piece)

    async def _report(self, job: Mapping[str, Any], body: dict[str, Any]) -> None:
        if self.post is not None:
            await self.post(job, body)
