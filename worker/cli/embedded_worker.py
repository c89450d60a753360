"""The worker of this process as an endpoint: jobs of a batch without RunPod and without HTTP."""

from __future__ import annotations

import asyncio
import itertools
import os
import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from worker.app import Worker
from worker.cli.endpoint_option import LOCAL
from worker.cli.printing import complain
from worker.client import EndpointError, JobState
from worker.errors import Cancelled
from worker.settings import read_settings
from worker.webui.process.launch_plan import STAND_IN, kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.telemetry.progress import Progress


class EmbeddedWorker:
    """Runs jobs on a worker in this process; thread-safe.

    Args:
        worker: Ready for jobs.
        loop: Runs in a thread of its own.
    """

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
        self.url = LOCAL
        self._worker = worker
        self._loop = loop
        self._ids = itertools.count(1)

    def run(self, job: Mapping[str, Any]) -> EmbeddedJob:
        """Begin a job."""
        return EmbeddedJob(self._worker, self._loop, f"{LOCAL}-{os.getpid()}-{next(self._ids)}", job)

    def job(self, job_id: str, *, worker: str | None = None) -> EmbeddedJob:
        """Raise EndpointError: a job ends with its process."""
        raise EndpointError(f"job {job_id} of {worker or LOCAL} ended with its process", 404)


class EmbeddedJob:
    """A job on the worker of this process."""

    worker: str | None = None

    def __init__(self, worker: Worker, loop: asyncio.AbstractEventLoop, job_id: str, job: Mapping[str, Any]) -> None:
        self.state = JobState(job_id, "IN_PROGRESS")
        self._news: queue.SimpleQueue[JobState] = queue.SimpleQueue()
        self._has_begun = False
        self._result = asyncio.run_coroutine_threadsafe(self._run(worker, job), loop)
        self._result.add_done_callback(self._tell_unbegun)

    @property
    def id(self) -> str:
        """Its name."""
        return self.state.id

    def stream(self, timeout: float | None = None) -> Iterator[JobState]:
        """Yield its states as they change, the last one over."""
        while not self.state.over:
            self.state = self._news.get(timeout=timeout)
            yield self.state

    def cancel(self) -> JobState:
        """Stop it, which interrupts the WebUI."""
        self._result.cancel()
        return self.state

    def _tell_unbegun(self, _result: object) -> None:
        """Tell of a job that was cancelled before its first step: it never comes to tell of itself."""
        if not self._has_begun:
            self._news.put(JobState(self.state.id, "CANCELLED"))

    async def _run(self, worker: Worker, job: Mapping[str, Any]) -> None:
        self._has_begun = True
        job_id = self.state.id

        def move(progress: Progress) -> None:
            self._news.put(JobState(job_id, "IN_PROGRESS", {"percent": progress.percent}))

        output: Any = None
        status = "CANCELLED"
        try:
            output = await worker.run({"id": job_id, "input": dict(job)}, on_progress=move)
            is_cancelled = isinstance(output, dict) and output.get("error_code") == Cancelled.code
            status = "CANCELLED" if is_cancelled else "COMPLETED"
        finally:
            self._news.put(JobState(job_id, status, output=output))


@contextmanager
def embedded_worker() -> Iterator[EmbeddedWorker]:
    """Start a worker with this process's environment, and end it after the block.

    Raises:
        WorkerError: its settings are wrong, or the WebUI does not start.
    """
    settings = read_settings(os.environ)
    if kind(settings) == STAND_IN:
        complain("The stand-in draws the pictures; set WEBUI_DIR or WEBUI_URL to use a real WebUI.")
    worker = Worker(settings, os.environ)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="embedded-worker")
    try:
        worker.spawn()
        worker.wait_ready()
        thread.start()
        yield EmbeddedWorker(worker, loop)
    finally:
        if thread.is_alive():
            asyncio.run_coroutine_threadsafe(_settle(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
        loop.close()
        worker.close()


async def _settle() -> None:
    """Wait for the jobs that were cancelled."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)
