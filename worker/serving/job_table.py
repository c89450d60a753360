"""Jobs taken over HTTP: a bounded queue, a few at once, their states and answers kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from worker.common.cancellation import timeout
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

JobStatus = Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED"]
OVER: frozenset[JobStatus] = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
MAX_KEPT = 500_000_000
"""Characters of all answers that are kept, their pictures mostly; the oldest are forgotten first."""
MAX_HELD_BYTES = 500_000_000
"""Of the bodies of all jobs that wait or run."""
MAX_UPDATES = 500
"""Progress updates kept for a job's stream."""


class QueueFull(Exception):
    """No more jobs may wait."""


class JobIdTaken(Exception):
    """A job with this id is known, and it is another one."""


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job as it was posted.

    Attributes:
        id: Its name.
        digest: Tells it from other jobs with the same id.
        body: Its JSON as it came: parsed, it may take many times the memory.
        webhook: The address that gets its result.
        traceparent: The caller's trace context; "" where there is none.
    """

    id: str
    digest: bytes
    body: bytes = field(repr=False)
    webhook: str | None = None
    traceparent: str = ""


@dataclass(slots=True, eq=False)
class JobRecord:
    """The state of one job.

    Attributes:
        id: Its name.
        digest: See `JobRequest`.
        webhook: See `JobRequest`.
        body: See `JobRequest`; empty once the job is over.
        submitted_at: Monotonic seconds, as all times here.
        answer: Set when it is over and was not cancelled.
        updates: Its progress so far, each update with its number from 1.
        pieces: Streamed pictures that the client has not acknowledged yet, numbered in the same sequence.
        last_number: The last number given.
        changed: Set and replaced whenever something changes.
        weight: Characters of what is kept of it, once it is over.
        worker_id: Names the worker that knows it.
        traceparent: See `JobRequest`.
    """

    id: str
    digest: bytes
    webhook: str | None
    body: bytes
    submitted_at: float
    status: JobStatus = "IN_QUEUE"
    started_at: float | None = None
    ended_at: float | None = None
    answer: Any = None
    updates: deque[tuple[int, Mapping[str, Any]]] = field(default_factory=lambda: deque(maxlen=MAX_UPDATES))
    pieces: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    last_number: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Any] | None = None
    weight: int = 0
    worker_id: str | None = None
    traceparent: str = ""

    @property
    def over(self) -> bool:
        """True once nothing more will happen to the job."""
        return self.status in OVER

    def change(self, **fields: Any) -> None:
        """Set fields and wake everyone who waits for a change."""
        for name, value in fields.items():
            setattr(self, name, value)
        self.changed.set()
        self.changed = asyncio.Event()

    def after(self, number: int) -> list[tuple[int, Mapping[str, Any]]]:
        """Return updates and pieces with higher numbers, and forget the pieces up to `number`: they have arrived."""
        self.pieces = [entry for entry in self.pieces if entry[0] > number]
        return sorted(
            [*(entry for entry in self.updates if entry[0] > number), *self.pieces], key=lambda entry: entry[0]
        )

    def to_json(self) -> dict[str, Any]:
        """Return it in the form of RunPod's API."""
        told: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.worker_id is not None:
            told["workerId"] = self.worker_id
        if self.started_at is not None:
            told["delayTime"] = round((self.started_at - self.submitted_at) * 1000)
        if self.ended_at is not None and self.started_at is not None:
            told["executionTime"] = round((self.ended_at - self.started_at) * 1000)
        if self.status == "FAILED":
            told["error"] = self.answer.get("error")
        if self.answer is not None:
            told["output"] = self.answer
        elif self.updates and not self.over:
            told["output"] = self.updates[-1][1]
        return told


class JobTable:
    """The jobs of an HTTP server and the workers on them; lives in one event loop.

    Args:
        handle: Answers a job; raises only CancelledError.
        parse: Returns the job in a body; called in a thread.
        at_once: Jobs worked on at the same time.
        max_waiting: Jobs that may wait.
        keep_s: Seconds that an answer is kept.
        max_kept: Characters of all that is kept.
        max_held_bytes: Bytes of the bodies of all jobs that are not over.
        on_over: Called when a job is over.
        worker_id: Names this worker in answers: its jobs are known to no other.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        handle: Callable[[dict[str, Any]], Coroutine[Any, Any, Any]],
        parse: Callable[[bytes], Any],
        *,
        at_once: int,
        max_waiting: int,
        keep_s: float,
        max_kept: int = MAX_KEPT,
        max_held_bytes: int = MAX_HELD_BYTES,
        on_over: Callable[[JobRecord], None] = lambda _: None,
        worker_id: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handle = handle
        self._parse = parse
        self._at_once = at_once
        self._max_waiting = max_waiting
        self._keep_s = keep_s
        self._max_kept = max_kept
        self._max_held_bytes = max_held_bytes
        self._on_over = on_over
        self._worker_id = worker_id
        self._clock = clock
        self._jobs: dict[str, JobRecord] = {}
        self._waiting: deque[JobRecord] = deque()
        self._running: set[JobRecord] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._kept = 0
        self._held_bytes = 0
        self._counts = {"completed": 0, "failed": 0, "cancelled": 0}
        self._log = get_logger("http")

    def submit(self, request: JobRequest) -> JobRecord:
        """Put a job into the queue, or return the one with this id.

        Raises:
            JobIdTaken: the job with this id is another one.
            QueueFull: no more jobs may wait, or none are taken any more.
        """
        self._forget()
        known = self._jobs.get(request.id)
        if known is not None:
            if known.digest != request.digest:
                raise JobIdTaken
            return known
        is_crowded = self._held_bytes > 0 and self._held_bytes + len(request.body) > self._max_held_bytes
        if self._closed or is_crowded or len(self._waiting) >= self._max_waiting:
            raise QueueFull
        job = JobRecord(
            request.id,
            request.digest,
            request.webhook,
            request.body,
            self._clock(),
            worker_id=self._worker_id,
            traceparent=request.traceparent,
        )
        self._held_bytes += len(job.body)
        self._jobs[job.id] = job
        self._waiting.append(job)
        self._advance()
        return job

    def get(self, job_id: str) -> JobRecord | None:
        """Return the job with this id, if it is known (any more)."""
        self._forget()
        return self._jobs.get(job_id)

    def cancel(self, job: JobRecord) -> None:
        """Stop a job that is not over; its status follows."""
        if job in self._waiting:
            self._waiting.remove(job)
            self._end(job, "CANCELLED", None)
        elif job.task is not None and not job.over:
            job.task.cancel()

    def progress(self, job_id: str, update: Mapping[str, Any]) -> None:
        """Record a running job's progress."""
        job = self._jobs.get(job_id)
        if job is not None and not job.over:
            job.last_number += 1
            if job.updates:  # a preview is of use while it is the newest
                number, last = job.updates[-1]
                job.updates[-1] = (number, {name: value for name, value in last.items() if name != "preview"})
            job.updates.append((job.last_number, update))
            job.change()

    def piece(self, job_id: str, piece: Mapping[str, Any]) -> None:
        """Record a picture of a running job."""
        job = self._jobs.get(job_id)
        if job is not None and not job.over:
            job.last_number += 1
            job.pieces.append((job.last_number, piece))
            job.change()

    def counts(self) -> dict[str, int]:
        """Return the number of jobs by status."""
        return {**self._counts, "inProgress": len(self._running), "inQueue": len(self._waiting)}

    async def close(self, grace_s: float) -> None:
        """Take no more jobs, cancel those that wait, let those that run finish within `grace_s`, then cancel them."""
        self._closed = True
        for job in list(self._waiting):
            self.cancel(job)
        try:
            async with timeout(grace_s):
                await self._idle.wait()
        except asyncio.TimeoutError:
            for job in list(self._running):
                self.cancel(job)
            await self._idle.wait()

    def _advance(self) -> None:
        while self._waiting and len(self._running) < self._at_once:
            job = self._waiting.popleft()
            self._running.add(job)
            self._idle.clear()
            job.change(status="IN_PROGRESS", started_at=self._clock())
            job.task = asyncio.ensure_future(self._run(job))
            job.task.add_done_callback(partial(self._done, job))

    async def _run(self, job: JobRecord) -> Any:
        parsed = await asyncio.to_thread(self._parse, job.body)
        caller = {"traceparent": job.traceparent} if job.traceparent else {}
        return await self._handle({**caller, **parsed, "id": job.id})

    def _done(self, job: JobRecord, task: asyncio.Task[Any]) -> None:
        self._running.discard(job)
        if task.cancelled():
            self._end(job, "CANCELLED", None)
        else:
            answer = task.result()
            self._end(job, "FAILED" if isinstance(answer, dict) and "error" in answer else "COMPLETED", answer)
        if not self._running:
            self._idle.set()
        self._advance()

    def _end(self, job: JobRecord, status: JobStatus, answer: Any) -> None:
        self._held_bytes -= len(job.body)
        weight = _characters([answer, job.webhook, *job.pieces])
        job.change(status=status, answer=answer, ended_at=self._clock(), weight=weight, body=b"", task=None)
        self._kept += job.weight
        self._counts[status.lower()] += 1
        self._on_over(job)

    def _forget(self) -> None:
        now = self._clock()
        ended = [(job.id, job.ended_at) for job in self._jobs.values() if job.ended_at is not None]
        for job_id, ended_at in ended:
            if now - ended_at <= self._keep_s and self._kept <= self._max_kept:
                continue
            self._kept -= self._jobs.pop(job_id).weight


def _characters(value: Any) -> int:
    """Return the characters of all texts in `value`."""
    total, pending = 0, [value]
    while pending:
        one = pending.pop()
        if isinstance(one, str):
            total += len(one)
        elif isinstance(one, dict):
            pending.extend(one.values())
        elif isinstance(one, (list, tuple)):
            pending.extend(one)
    return total
