"""Jobs that the page asks for: finishing kept pictures, and more like one with the next seeds."""

from __future__ import annotations

import json
import threading
import uuid
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Literal

import requests

from worker.client import Answer, EndpointError, JobCancelled, JobFailed, JobTimedOut
from worker.client.batch.batch_answers import read_job_answer
from worker.gallery.job_requests import (
    FINAL,
    NoSuchJob,
    facts_document,
    final_name,
    finished,
    finishing_job,
    next_seeds,
    repeated_job,
    seeds_alike,
)
from worker.gallery.picture_reading import UnreadablePicture, file_ending
from worker.gallery.store.picture_store import PictureGone, PictureStore, StoreUnavailable
from worker.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.gallery.facts import PictureFacts
    from worker.gallery.job_endpoint import JobEndpoint, SubmittedJob
    from worker.gallery.picture_catalog import PictureCatalog

    Kind = Literal["finish", "again"]
    Status = Literal["queued", "running", "made", "skipped", "rejected", "failed", "cancelled"]

IN_FLIGHT = 3
MOST_TASKS = 2000
"""Kept in the list; the oldest that are over go first."""

_OVER = ("made", "skipped", "rejected", "failed", "cancelled")


@dataclass(slots=True)
class Task:
    """A job for one picture.

    Attributes:
        picture: Id of the picture that it starts from.
        name: Its name.
        kind: What is done.
        job: Sent to the endpoint; None where there can be none.
        seed: Of the picture that is made.
        status: How it goes.
        percent: Of the running job.
        message: Why nothing was made.
        made: Names of the pictures that came of it.
    """

    picture: str
    name: str
    kind: Kind
    facts: PictureFacts
    job: Mapping[str, Any] | None = None
    seed: int | None = None
    status: Status = "queued"
    percent: float = 0.0
    message: str = ""
    made: list[str] = field(default_factory=list)
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    running: SubmittedJob | None = None
    is_cancelled: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what the page shows of it."""
        told = {"id": self.id, "picture": self.picture, "kind": self.kind, "status": self.status}
        return {**told, "percent": self.percent, "message": self.message[:500], "made": self.made}


class Production:
    """Sends jobs to an endpoint, several at once, and writes what they make beside the pictures. Thread-safe.

    Args:
        endpoint: Runs the jobs.
        catalog: The pictures.
        store: Where they lie, and what is made is written to.
    """

    def __init__(self, endpoint: JobEndpoint, catalog: PictureCatalog, store: PictureStore) -> None:
        self._endpoint = endpoint
        self._catalog = catalog
        self._store = store
        self._lock = threading.Lock()
        self._tasks: list[Task] = []
        self._begun: list[Future[None]] = []
        self._pool = ThreadPoolExecutor(IN_FLIGHT, "gallery-job")

    def finish(self, pictures: Sequence[str]) -> list[Task]:
        """Finish pictures; those that have a final, or whose job is under way, are skipped."""
        have_final = finished([(entry.file.name, entry.facts) for entry in self._catalog.entries()])
        tasks = []
        for one in dict.fromkeys(pictures):
            entry, facts = self._catalog.entry(one), self._catalog.facts(one)
            task = Task(one, entry.file.name, "finish", facts, seed=facts.seed)
            if entry.file.name in have_final or facts.stage == FINAL:
                task.status, task.message = "skipped", "it has a final"
            elif self._is_under_way(one):
                continue
            else:
                try:
                    task.job = finishing_job(facts, self._store.key(entry.file.name))
                except NoSuchJob as error:
                    task.status, task.message = "failed", str(error)
            tasks.append(task)
        return self._begin(tasks)

    def again(self, picture: str, count: int) -> list[Task]:
        """Make `count` pictures like one, with the next seeds that none of its kind has.

        Raises:
            NoSuchJob: its facts don't tell how.
        """
        entry, facts = self._catalog.entry(picture), self._catalog.facts(picture)
        if facts.seed is None:
            raise NoSuchJob("its seed is not known")
        with self._lock:
            asked = [replace(task.facts, seed=task.seed) for task in self._tasks if task.kind == "again"]
        known = [other.facts for other in self._catalog.entries() if other.facts is not None]
        used = seeds_alike(facts, [*known, *asked])
        return self._begin(
            [
                Task(picture, entry.file.name, "again", facts, repeated_job(facts, seed), seed)
                for seed in next_seeds(facts.seed, used, count)
            ]
        )

    def tasks(self) -> list[dict[str, Any]]:
        """Return every task, oldest first."""
        with self._lock:
            return [task.to_json() for task in self._tasks]

    def cancel(self) -> None:
        """Cancel every task that is not over; their jobs are stopped."""
        with self._lock:
            pending = [task for task in self._tasks if task.status not in _OVER]
            for task in pending:
                task.is_cancelled = True
                if task.status == "queued":
                    task.status = "cancelled"
        for task in pending:
            if task.running is not None:
                try:
                    task.running.cancel()
                except EndpointError as error:
                    logs.get_logger("gallery").warning("a job could not be cancelled", error=str(error))

    def wait(self) -> None:
        """Wait until every task that was begun is over."""
        with self._lock:
            begun = list(self._begun)
        wait(begun)

    def close(self) -> None:
        """Cancel what runs, and wait for the threads."""
        self.cancel()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _is_under_way(self, picture: str) -> bool:
        with self._lock:
            return any(
                task.picture == picture and task.kind == "finish" and task.status not in _OVER for task in self._tasks
            )

    def _begin(self, tasks: list[Task]) -> list[Task]:
        with self._lock:
            self._tasks += tasks
            over = [task for task in self._tasks if task.status in _OVER]
            for task in over[: max(0, len(self._tasks) - MOST_TASKS)]:
                self._tasks.remove(task)
            for task in (task for task in tasks if task.status == "queued"):
                self._begun = [*(one for one in self._begun if not one.done()), self._pool.submit(self._run, task)]
        return tasks

    def _run(self, task: Task) -> None:
        job = self._take_up(task)
        if job is None:
            return
        status: Status = "failed"
        try:
            task.running = self._endpoint.run(job)
            self._cancel_if_wanted(task)
            for state in task.running.stream():
                percent = state.progress.get("percent")
                task.percent = float(percent) if isinstance(percent, (int, float)) else task.percent
            status = self._keep(task, task.running.state.answer())
        except JobCancelled:
            status, task.message = "cancelled", "cancelled"
        except (JobFailed, JobTimedOut, EndpointError, StoreUnavailable, UnreadablePicture, PictureGone) as error:
            task.message = str(error)
        except (requests.RequestException, OSError, ValueError) as error:
            task.message = f"the picture can't be read from the answer: {error}"
        except Exception as error:  # noqa: BLE001 - a task that ends otherwise would look as if it ran for ever
            logs.get_logger("gallery").exception("a job's answer could not be used")
            task.message = f"a defect: {type(error).__name__}"
        with self._lock:
            task.status = "cancelled" if task.is_cancelled and status == "failed" else status

    def _take_up(self, task: Task) -> Mapping[str, Any] | None:
        """Return the job of a task that is to be run now, None where it was cancelled."""
        with self._lock:
            if task.is_cancelled:
                return None
            task.status = "running"
            return task.job

    def _cancel_if_wanted(self, task: Task) -> None:
        """Stop a job that was cancelled while it was sent."""
        if task.is_cancelled and task.running is not None:
            task.running.cancel()

    def _keep(self, task: Task, answer: Mapping[str, Any]) -> Status:
        """Write what was made; return how the task ended."""
        parts = answer.get("parts") if task.job and task.job.get("type") == "continue" else None
        if not isinstance(parts, list):
            if not answer.get("images") and read_job_answer(answer, task.job or {}).judged:
                task.message = _NOT_MADE["rejected"][1]
                return "rejected"
            self._add(task, [str(image) for image in answer.get("images") or ()], _rows(answer))
            return "made"
        status: Status = "failed"
        for part in (part for part in parts if isinstance(part, dict)):
            told = str(part.get("status"))
            if told == "made":
                self._add(task, [str(image) for image in part.get("images") or ()], _rows(part))
                status = "made"
            elif status != "made":
                status, message = _NOT_MADE.get(told, ("failed", "no reason told"))
                task.message = _words(part.get("error")) or message
        return status

    def _add(self, task: Task, images: list[str], rows: Sequence[Mapping[str, Any]]) -> None:
        if not images:
            raise ValueError("the answer carries no pictures")
        for index, image in enumerate(images):
            if "://" in image[:16] and self._store.key(task.name) is not None:
                continue  # the worker has put it into this bucket
            data = Answer({"images": [image]}).pictures()[0]
            row = rows[index] if index < len(rows) else {}
            name = self._store.add(f"{_new_name(task)}{file_ending(data)}", data)
            task.made.append(name)
            more: dict[str, Any] = {"seed": row.get("seed", task.seed), "stage": task.facts.stage}
            if task.kind == "finish":
                more = {**more, "stage": FINAL, "source": task.name}
            document = facts_document(task.facts, task.job or {}, row, **more)
            self._store.add(str(PurePosixPath(name).with_suffix(".json")), json.dumps(document, indent=1).encode())
        self._catalog.scan()
        self._catalog.read_missing_facts()


_NOT_MADE: Mapping[str, tuple[Status, str]] = {
    "skipped": ("skipped", "it has a final"),
    "rejected": ("rejected", "a judge stage rejected it"),
}
"""Status of a part of a continuation → that of the task, and the reason why it has no picture."""


def _new_name(task: Task) -> str:
    if task.kind == "finish":
        return final_name(task.name)
    path = PurePosixPath(task.name)
    known = "" if task.facts.seed is None else str(task.facts.seed)
    stem = path.stem.replace(known, str(task.seed)) if known and known in path.stem else f"{path.stem}-s{task.seed}"
    return str(path.parent / stem)


def _rows(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    rows = told.get("pictures")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _words(error: object) -> str:
    return str(error.get("error") or error.get("message") or "") if isinstance(error, dict) else str(error or "")
