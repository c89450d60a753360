"""Jobs taken over HTTP: a bounded line, so many at once, their state and answers kept for a while."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

Status = Literal["IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED"]
OVER: frozenset[Status] = frozenset({"COMPLETED", "FAILED", "CANCELLED"})
KEPT = 500_000_000
"""Characters of all jobs that are over and still kept, their pictures mostly; the oldest are forgotten first."""
UPDATES = 500
"""Progress updates kept for a job's stream."""


class LineFull(Exception):
    """As many jobs wait as may."""


class OtherJob(Exception):
    """A job with this id is known, and it is another one."""


@dataclass(slots=True, eq=False)
class Job:
    """One job.

    Attributes:
        id: Its name.
        job: As it came, with its id.
        status: Where it is.
        answer: When it is over and was not cancelled.
        updates: Progress so far, each with its number from 1.
        pieces: Pictures that were streamed and not yet asked beyond, numbered in the same row.
        number: The last one given.
        news: Set and replaced whenever something changed.
        weight: Characters of what it holds, once it is over.
    """

    id: str
    job: Mapping[str, Any]
    came: float
    status: Status = "IN_QUEUE"
    began: float | None = None
    ended: float | None = None
    answer: Any = None
    updates: deque[tuple[int, Mapping[str, Any]]] = field(default_factory=lambda: deque(maxlen=UPDATES))
    pieces: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    number: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[Any] | None = None
    weight: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in OVER

    def tell(self, **changes: Any) -> None:
        """Change fields and wake whoever waits for news."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.news.set()
        self.news = asyncio.Event()

    def after(self, last: int) -> list[tuple[int, Mapping[str, Any]]]:
        """Return updates and pieces numbered higher than `last`, and forget the pieces up to it: they have arrived."""
        self.pieces = [entry for entry in self.pieces if entry[0] > last]
        return sorted([*(entry for entry in self.updates if entry[0] > last), *self.pieces], key=lambda entry: entry[0])

    def to_json(self) -> dict[str, Any]:
        """Return it as RunPod's API tells it."""
        told: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.began is not None:
            told["delayTime"] = round((self.began - self.came) * 1000)
        if self.ended is not None and self.began is not None:
            told["executionTime"] = round((self.ended - self.began) * 1000)
        if self.status == "FAILED":
            told["error"] = self.answer.get("error")
        if self.answer is not None:
            told["output"] = self.answer
        elif self.updates and not self.over:
            told["output"] = self.updates[-1][1]
        return told


class Jobs:
    """The table of jobs and those who work on them; lives in one event loop.

    Args:
        handle: Answers a job; raises nothing but CancelledError.
        at_once: Jobs worked on at the same time.
        line: Jobs that may wait.
        keep_s: How long an answer is kept.
        most: Characters of all that is kept.
        on_over: Called when a job is over.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        handle: Callable[[dict[str, Any]], Coroutine[Any, Any, Any]],
        *,
        at_once: int,
        line: int,
        keep_s: float,
        most: int = KEPT,
        on_over: Callable[[Job], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._handle = handle
        self._at_once = at_once
        self._line = line
        self._keep_s = keep_s
        self._most = most
        self._on_over = on_over
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[Job] = deque()
        self._running: set[Job] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self._kept = 0
        self._counts = {"completed": 0, "failed": 0, "cancelled": 0}
        self._log = get_logger("http")

    def submit(self, job_id: str, job: Mapping[str, Any]) -> Job:
        """Put a job in line, or return the one with this id.

        Raises:
            OtherJob: the one with this id is not this one.
            LineFull: as many wait as may, or no more are taken.
        """
        self._forget()
        known = self._jobs.get(job_id)
        if known is not None:
            if known.job != {**job, "id": job_id}:
                raise OtherJob
            return known
        if self._closed or len(self._waiting) >= self._line:
            raise LineFull
        entry = Job(job_id, {**job, "id": job_id}, self._clock())
        self._jobs[job_id] = entry
        self._waiting.append(entry)
        self._advance()
        return entry

    def get(self, job_id: str) -> Job | None:
        """Return the job with this id, if it is known (any more)."""
        self._forget()
        return self._jobs.get(job_id)

    def cancel(self, job: Job) -> None:
        """Stop a job that is not over; its status follows."""
        if job in self._waiting:
            self._waiting.remove(job)
            self._end(job, "CANCELLED", None)
        elif job.task is not None and not job.over:
            job.task.cancel()

    def progress(self, job_id: str, update: Mapping[str, Any]) -> None:
        """Take note of a running job's progress."""
        job = self._jobs.get(job_id)
        if job is not None and not job.over:
            job.number += 1
            if job.updates:  # a preview is of use while it is the newest
                last, told = job.updates[-1]
                job.updates[-1] = (last, {name: value for name, value in told.items() if name != "preview"})
            job.updates.append((job.number, update))
            job.tell()

    def piece(self, job_id: str, piece: Mapping[str, Any]) -> None:
        """Take note of a picture of a running job."""
        job = self._jobs.get(job_id)
        if job is not None and not job.over:
            job.number += 1
            job.pieces.append((job.number, piece))
            job.tell()

    def counts(self) -> dict[str, int]:
        """Return how many jobs are where."""
        return {**self._counts, "inProgress": len(self._running), "inQueue": len(self._waiting)}

    async def close(self, grace_s: float) -> None:
        """Take no more, give up what waits, let what runs finish within `grace_s`, then cancel it."""
        self._closed = True
        for job in list(self._waiting):
            self.cancel(job)
        try:
            await asyncio.wait_for(self._idle.wait(), grace_s)
        except asyncio.TimeoutError:
            for job in list(self._running):
                self.cancel(job)
            await self._idle.wait()

    def _advance(self) -> None:
        while self._waiting and len(self._running) < self._at_once:
            job = self._waiting.popleft()
            self._running.add(job)
            self._idle.clear()
            job.tell(status="IN_PROGRESS", began=self._clock())
            job.task = asyncio.ensure_future(self._handle(dict(job.job)))
            job.task.add_done_callback(partial(self._done, job))

    def _done(self, job: Job, task: asyncio.Task[Any]) -> None:
        self._running.discard(job)
        if task.cancelled():
            self._end(job, "CANCELLED", None)
        else:
            answer = task.result()
            self._end(job, "FAILED" if isinstance(answer, dict) and "error" in answer else "COMPLETED", answer)
        if not self._running:
            self._idle.set()
        self._advance()

    def _end(self, job: Job, status: Status, answer: Any) -> None:
        job.tell(status=status, answer=answer, ended=self._clock(), weight=_weight([job.job, answer, *job.pieces]))
        self._kept += job.weight
        self._counts[status.lower()] += 1
        self._on_over(job)

    def _forget(self) -> None:
        now = self._clock()
        old = [name for name, job in self._jobs.items() if job.ended is not None and now - job.ended > self._keep_s]
        for name in old:
            self._kept -= self._jobs.pop(name).weight
        for name in [name for name, job in self._jobs.items() if job.ended is not None]:
            if self._kept <= self._most:
                break
            self._kept -= self._jobs.pop(name).weight


def _weight(value: Any) -> int:
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
