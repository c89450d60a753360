"""Batches: many jobs over one endpoint or several, their pictures in a folder that is also the batch's memory."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.client.batch.batch_answers import AnsweredJob, read_job_answer
from worker.client.batch.batch_folder import BatchFolder
from worker.client.batch.batch_items import batch_items, check_counts, count_items
from worker.client.batch.batch_plan import BatchPlan
from worker.client.batch.batch_queue import (
    ATTEMPTS,
    UNUSABLE,
    AttemptQueue,
    BatchAttempt,
    classify_failure,
    pause_s,
)
from worker.client.batch.batch_state import BatchFailure, BatchState
from worker.client.job_state import Answer, EndpointError, JobCancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from worker.client.batch.batch_items import BatchItem
    from worker.client.batch.job_runner import JobRunner, SentJob

IN_FLIGHT = 4
MOST_RESTS = 6
"""Rests in a row after which an endpoint is given up."""
MOST_FAILURES_IN_A_ROW = 20
"""Failed jobs, without one that succeeds, after which a batch ends."""


@dataclass(slots=True)
class _Place:
    runner: JobRunner
    rests: int = 0
    is_unusable: bool = False
    rested_until: float = 0.0
    why: str = ""
    threads: list[threading.Thread] = field(default_factory=list)


class Batch:
    """A batch in a folder. One call of `run` or `finish` at a time.

    Args:
        folder: For the pictures; a later batch in it goes on where an earlier one ended.
        endpoints: Share the jobs; each job is made by one of them.
        in_flight: Jobs at once on each endpoint.
        on_change: Called with the state whenever it changes, from any thread, one call at a time. It returns soon, and
            does not call the batch.
        clock: Monotonic seconds.
        names: The endpoints as people call them, noted in the folder for those who go on; default: their addresses.

    Raises:
        BatchFolderError: the folder can't be used.
    """

    def __init__(
        self,
        folder: str | Path,
        endpoints: Sequence[JobRunner],
        *,
        in_flight: int = IN_FLIGHT,
        on_change: Callable[[BatchState], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        names: Sequence[str] | None = None,
    ) -> None:
        if not endpoints or in_flight < 1:
            raise ValueError("a batch needs an endpoint, and at least one job in flight")
        self.folder = BatchFolder(Path(folder))
        self._runners = {runner.url: runner for runner in endpoints}
        self._in_flight = in_flight
        self._on_change = on_change
        self._clock = clock
        self._names = list(self._runners) if names is None else list(names)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._state = BatchState()
        self._sent: dict[str, SentJob] = {}
        self._refused = set[int]()
        self._in_a_row = 0
        self._queue: AttemptQueue | None = None
        self._at_work = 0
        self._ended = threading.Event()

    def run(
        self, plan: BatchPlan | Mapping[str, Any] | Sequence[Mapping[str, Any]], *, count: int | None = 1
    ) -> BatchState:
        """Make the pictures of a plan that are not there, and return how it went. Ctrl-C cancels what runs.

        Args:
            plan: A job, several, or what `worker.client.batch.batch_plan.read_plan` returns.
            count: How often each job is made, with other seeds each time; None: until it is cancelled.

        Raises:
            InvalidPlan: a job can't be made so often.
            BatchFolderError: another batch is at work in the folder.
        """
        if not isinstance(plan, BatchPlan):
            plan = BatchPlan([plan]) if isinstance(plan, dict) else BatchPlan(list(plan), is_table=True)  # type: ignore[arg-type]
        check_counts(plan, count)
        with self.folder.held():
            first_seed = self.folder.first_seed()
            total = None if count is None else count_items(plan, first_seed, count)
            return self._make(batch_items(plan, first_seed, count, self._refused.__contains__), total)

    def finish(self, choose: Callable[[Sequence[str]], Collection[str]] = lambda names: names) -> BatchState:
        """Finish the candidates that are there and have no final, and return how it went.

        Args:
            choose: Returns those of the candidates, by their paths below the folder, that are to be finished.

        Raises:
            BatchFolderError: another batch is at work in the folder.
        """
        with self.folder.held():
            chosen = choose(self.folder.candidates())
            items = {name: self.folder.finishing(name) for name in chosen}
            unknown = [
                BatchFailure({}, "its JSON does not tell the stages that are left", name)
                for name, item in items.items()
                if item is None
            ]
            known = [item for item in items.values() if item is not None]
            return self._make(iter(known), len(items), tuple(unknown))

    def cancel(self) -> None:
        """Cancel what runs, and send nothing more; pictures that are there stay. `run` returns soon after."""
        with self._lock:
            self._stopping.set()
            self._state = replace(self._state, is_interrupted=True)
            sent = list(self._sent.values())
        if self._queue is not None:
            self._queue.close()
        for job in sent:
            _cancel(job)

    def _make(
        self, items: Iterator[BatchItem], total: int | None, failures: tuple[BatchFailure, ...] = ()
    ) -> BatchState:
        self._made = self.folder.made()
        self.folder.keep_endpoints(self._names)
        self._stopping.clear()
        self._refused.clear()
        self._in_a_row = 0
        self._change(lambda _: BatchState(jobs=total, failures=failures))
        self._queue = AttemptQueue(self._missing(items), self._clock)
        places = [_Place(runner) for runner in self._runners.values()]
        for place in places:
            place.threads = [
                threading.Thread(target=self._work, args=(place, places), daemon=True, name=f"batch-{place.runner.url}")
                for _ in range(self._in_flight)
            ]
        threads = [thread for place in places for thread in place.threads]
        self._at_work, self._ended = len(threads), threading.Event()
        for thread in threads:
            thread.start()
        try:
            self._ended.wait()  # a `join` that a signal interrupts takes its thread for ended from then on
        except KeyboardInterrupt:
            self.cancel()
            self._ended.wait()
        return self._state

    def _missing(self, items: Iterator[BatchItem]) -> Iterator[BatchItem]:
        for item in items:
            if self._made.get(item.key) == {-1}:
                self._change(lambda state: replace(state, there=state.there + 1))
            else:
                yield item

    def _work(self, place: _Place, places: Sequence[_Place]) -> None:
        try:
            self._take_attempts(place, places)
        finally:
            with self._lock:
                self._at_work -= 1
                if self._at_work == 0:
                    self._ended.set()

    def _take_attempts(self, place: _Place, places: Sequence[_Place]) -> None:
        assert self._queue is not None  # noqa: S101 - set before the threads are started
        while not place.is_unusable and (attempt := self._queue.take()) is not None:
            rest_s = place.rested_until - self._clock()
            if rest_s > 0 or place.is_unusable:
                self._queue.put_back(attempt, after_s=0.0, counts=False)
                self._stopping.wait(max(0.0, rest_s))
                continue
            self._change(lambda state: replace(state, running=state.running + 1))
            try:
                self._attempt(place, attempt, places)
            except BaseException as error:  # noqa: BLE001 - a thread that ends silently would leave the batch waiting
                self._end(f"{type(error).__name__}: {error}")
                self._queue.settle()
            finally:
                self._change(lambda state: replace(state, running=state.running - 1))

    def _attempt(self, place: _Place, attempt: BatchAttempt, places: Sequence[_Place]) -> None:
        assert self._queue is not None  # noqa: S101 - as in `_work`
        item, began = attempt.item, self._clock()
        sent: SentJob | None = None
        try:
            sent = self._send(place, item)
            for _ in sent.stream():
                continue
            answer = sent.state.answer()
            read = read_job_answer(answer, item.job)
            pictures = self._fetch(read)
        except JobCancelled as error:
            self.folder.forget_running(item.key)
            if not self._stopping.is_set():
                self._fail(item, str(error))
            self._queue.settle()
            return
        except Exception as error:  # noqa: BLE001 - `classify_failure` knows what follows
            self._failed(place, attempt, error, places, was_sent=sent is not None)
            return
        finally:
            with self._lock:
                self._sent.pop(item.key, None)
        place.rests = 0
        ran_ms = sent.state.ran_ms
        try:
            names = self._keep(item, read, pictures, sent, place)
        except ValueError as error:
            self._fail(item, f"the answer can't be used: {error}")
            names = None
        except OSError as error:
            self._end(f"{self.folder.root} can't be written to: {error.strerror or error}")
            self._queue.settle()
            return
        if names is not None:
            spent = ran_ms / 1000 if ran_ms is not None else self._clock() - began
            self._in_a_row = 0
            self._change(
                lambda state: replace(
                    state, done=state.done + 1, pictures=(*state.pictures, *names), job_s=state.job_s + spent
                )
            )
            for message in read.errors:
                self._fail(item, message)
        self.folder.forget_running(item.key)
        self._queue.settle()

    def _send(self, place: _Place, item: BatchItem) -> SentJob:
        """Put a job in line, or return the one that an earlier run put in line."""
        known = self.folder.running(item.key)
        owner = self._runners.get(str(known.get("endpoint")))
        sent: SentJob | None = None
        if owner is not None:
            try:
                sent = owner.job(str(known.get("job")), worker=known.get("worker"))
            except EndpointError:
                self.folder.forget_running(item.key)
        if sent is None:
            sent = place.runner.run(item.job)
            self.folder.note_running(item.key, endpoint=place.runner.url, job_id=sent.id, worker=sent.worker)
        with self._lock:
            self._sent[item.key] = sent
            is_late = self._stopping.is_set()
        if is_late:
            _cancel(sent)
        return sent

    def _fetch(self, read: AnsweredJob) -> list[list[bytes]]:
        """Return the bytes of each picture and of its intermediates."""
        if not (read.pictures or read.judged or read.is_skipped):
            raise ValueError("; ".join(read.errors) or "it carries no pictures")
        return [
            Answer({"images": [one.image, *(image for _, image in one.intermediates)]}).pictures()
            for one in read.pictures
        ]

    def _keep(
        self, item: BatchItem, read: AnsweredJob, pictures: Sequence[Sequence[bytes]], sent: SentJob, place: _Place
    ) -> list[str]:
        now = datetime.now(timezone.utc)
        about = {"job_id": sent.id, "endpoint": place.runner.url}
        judged = {"judged": [dict(one) for one in read.judged]} if read.judged else {}
        if not read.pictures:
            self.folder.keep(item, None, (), now, index=0, of=1, **about, **judged)
            return []
        there = self._made.get(item.key, set())
        names = []
        for index, (picture, data) in enumerate(zip(read.pictures, pictures, strict=True)):
            if index in there:
                continue
            more = judged if index == 0 else {}
            name = self.folder.keep(item, picture, data, now, index=index, of=len(pictures), **about, **more)
            names += [name] if name is not None else []
        return names

    def _failed(
        self, place: _Place, attempt: BatchAttempt, error: Exception, places: Sequence[_Place], *, was_sent: bool
    ) -> None:
        assert self._queue is not None  # noqa: S101 - as in `_work`
        failure = classify_failure(error, was_sent=was_sent)
        if self._stopping.is_set():
            self._queue.settle()
            return
        if failure.endpoint:
            with self._lock:
                if place.rested_until <= self._clock():
                    place.rests += 1
                    place.rested_until = self._clock() + pause_s(place.rests)
                place.why = failure.message
                place.is_unusable = failure.endpoint == UNUSABLE or place.rests > MOST_RESTS
            if not place.is_unusable:
                self._change(lambda state: replace(state, trouble=failure.message))
            if all(one.is_unusable for one in places):
                self._end("; ".join(dict.fromkeys(one.why for one in places)))
            self._queue.put_back(attempt, after_s=0.0, counts=False)
            return
        self.folder.forget_running(attempt.item.key)
        if failure.is_worth_another and attempt.number < ATTEMPTS:
            self._queue.put_back(attempt, after_s=pause_s(attempt.number), counts=True)
            return
        if failure.is_refused:
            self._refused.add(attempt.item.row)
        self._fail(attempt.item, failure.message)
        self._queue.settle()

    def _fail(self, item: BatchItem, message: str) -> None:
        failure = BatchFailure(item.job, message, item.source)
        self._change(lambda state: replace(state, failures=(*state.failures, failure)))
        with self._lock:
            self._in_a_row += 1
            is_hopeless = self._in_a_row >= MOST_FAILURES_IN_A_ROW
        if is_hopeless:
            self._end(f"{MOST_FAILURES_IN_A_ROW} jobs in a row failed")

    def _end(self, why: str) -> None:
        """End the batch before its last job."""
        self._change(lambda state: replace(state, ended_by=state.ended_by or why))
        with self._lock:
            self._stopping.set()
            sent = list(self._sent.values())
        if self._queue is not None:
            self._queue.close()
        for job in sent:
            _cancel(job)

    def _change(self, change: Callable[[BatchState], BatchState]) -> None:
        with self._lock:
            self._state = change(self._state)
            self._on_change(self._state)  # in the lock: states are told in their order


def _cancel(job: SentJob) -> None:
    try:
        job.cancel()
    except EndpointError:
        return  # it ends by itself, and nobody waits for it
