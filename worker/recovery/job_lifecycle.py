"""Job life cycle: a job that was answered before gets that answer, one that outlives a stop is handed back."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from worker.common.cancellation import timeout
from worker.errors import WorkerStopping
from worker.recovery.kept_results import result_key
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from concurrent.futures import Future

    from worker.recovery.kept_results import KeptResults, ResultKey
    from worker.telemetry.progress import PieceSink, ProgressSink

    Run = Callable[..., Awaitable[Any]]

KEEP_S = 1.0
"""Longest wait for an answer to be written; there is none while an earlier one is still being written."""
LOOK_UP_S = 5.0
"""Longest look into the folder of kept answers: a volume that hangs must not keep jobs from running."""


class JobLifecycle:
    """Surrounds every job; one for the worker's life.

    Args:
        run: Answers a job; see `Service.run`.
        results: The kept answers.
        grace_s: Seconds that running jobs get after `stop`.
    """

    def __init__(self, run: Run, results: KeptResults, *, grace_s: float) -> None:
        self._run = run
        self._results = results
        self._grace_s = grace_s
        self._running: dict[asyncio.Task[Any], asyncio.AbstractEventLoop] = {}
        self._stopping = False
        self._handed_back: set[asyncio.Task[Any]] = set()
        self._slow: Future[None] | None = None
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="results")
        self._log = get_logger("jobs")
        self._pool.submit(results.tidy, force=True)

    async def run(self, job: Mapping[str, Any], *, on_progress: ProgressSink, on_piece: PieceSink | None = None) -> Any:
        """Return the answer to one job.

        Raises:
            asyncio.CancelledError: the job was cancelled; the WebUI is idle again.
        """
        mark = await self._mark(job)
        kept = await self._kept(mark) if mark is not None else None
        if kept is not None:
            self._log.info("answered from the kept answers", job_id=str(job.get("id")))
            return kept
        answer = await self._to_its_end(job, on_progress, on_piece)
        if mark is not None and _is_success(answer):
            await self._keep(mark, answer)
        return answer

    def stop(self) -> None:
        """Give running jobs their grace; those that still run then are interrupted and answered as to be sent again."""
        self._stopping = True
        for task, loop in list(self._running.items()):
            loop.call_soon_threadsafe(loop.call_later, self._grace_s, self._hand_back, task)

    def close(self) -> None:
        """Return when every answer is kept."""
        self._pool.shutdown()

    async def _to_its_end(self, job: Mapping[str, Any], on_progress: ProgressSink, on_piece: PieceSink | None) -> Any:
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("a coroutine runs in a task")
        loop = self._running[task] = asyncio.get_running_loop()
        if self._stopping:  # taken in the moment of the stop
            loop.call_later(self._grace_s, self._hand_back, task)
        try:
            return await self._run(job, on_progress=on_progress, on_piece=on_piece)
        except asyncio.CancelledError:
            if task not in self._handed_back:
                raise
            error = WorkerStopping(f"the worker stops, and the job was not done within {self._grace_s:g} s")
            return error.to_answer()
        finally:
            self._running.pop(task, None)
            self._handed_back.discard(task)

    def _hand_back(self, task: asyncio.Task[Any]) -> None:
        if task in self._running:
            self._handed_back.add(task)
            task.cancel()

    async def _mark(self, job: Mapping[str, Any]) -> ResultKey | None:
        """Return the job's key; None where nothing is kept, or the input is not even JSON."""
        if not self._results.on or not job.get("id"):
            return None
        try:
            mark: ResultKey = await self._thread(result_key, job)
        except (TypeError, ValueError, RecursionError):
            return None
        return mark

    async def _keep(self, mark: ResultKey, answer: Any) -> None:
        """Keep an answer before it is posted; on a volume that is slow, while it is.

        The GPU has been given on by then. What is written is found by any worker from then on, also when this one is
        killed in the next moment; that it reaches the disk, against a power cut, is seen to afterwards.
        """
        keeping = self._pool.submit(self._results.keep, mark, answer)
        keeping.add_done_callback(self._secured(mark))
        if self._slow is None or self._slow.done():
            self._slow = keeping
            await asyncio.wait({asyncio.wrap_future(keeping)}, timeout=KEEP_S)
            if not keeping.done():
                self._log.warning("the folder of kept answers is slow; answers are posted meanwhile")

    def _secured(self, mark: ResultKey) -> Callable[[Future[None]], None]:
        def after(_: Future[None]) -> None:
            with contextlib.suppress(RuntimeError):  # the pool is being closed: the next worker finds it all the same
                self._pool.submit(self._results.secure, mark)

        return after

    async def _kept(self, mark: ResultKey) -> Any:
        try:
            async with timeout(LOOK_UP_S):
                return await self._thread(self._results.find, mark)
        except asyncio.TimeoutError:
            self._log.warning("the folder of kept answers does not answer")
            return None

    async def _thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)


def _is_success(answer: Any) -> bool:
    return bool(isinstance(answer, dict) and "images" in answer and "error" not in answer)
