"""An endpoint on loopback that draws: it answers jobs over HTTP as the worker does, workflows with `until` too."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.support.gallery import png
from tests.support.loopback_http import Reply, Request, Server, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


class DrawingEndpoint:
    """Every job makes one picture; without `until` it is twice as large.

    Attributes:
        jobs: The inputs it was sent, by job id.
        cancelled: Ids of jobs that were cancelled.
        held: While set, jobs stay at half their way.
        answers: Returns an output instead of a picture for a job's input and how often it was sent, None for a picture.
        refusal: Status of every request instead of an answer.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, dict[str, Any]] = {}
        self.cancelled: set[str] = set()
        self.held = threading.Event()
        self.answers: Callable[[Mapping[str, Any], int], dict[str, Any] | None] = lambda _job, _times: None
        self.refusal: int | None = None
        self._lock = threading.Lock()

    def seeds(self) -> list[int]:
        """The seeds of the jobs it was sent, in order."""
        return [job["seed"] for job in self.jobs.values()]

    def answer(self, request: Request) -> Reply:
        if self.refusal is not None:
            return _json({"error": "refused"}, self.refusal)
        action, _, job_id = request.path.strip("/").partition("/")
        with self._lock:
            if action == "run":
                job_id = f"job-{len(self.jobs)}"
                self.jobs[job_id] = json.loads(request.body)["input"]
                return _json({"id": job_id, "status": "IN_QUEUE"})
            if job_id not in self.jobs:
                return _json({"error": "no such job"}, 404)
            if action == "cancel":
                self.cancelled.add(job_id)
            return _json({"id": job_id, **self._state(job_id)})

    def _state(self, job_id: str) -> dict[str, Any]:
        job = self.jobs[job_id]
        if job_id in self.cancelled:
            return {"status": "CANCELLED"}
        if self.held.is_set():
            return {"status": "IN_PROGRESS", "output": {"percent": 50}}
        output = self.answers(job, list(self.jobs.values()).count(job))
        return {"status": "COMPLETED", "executionTime": 1500, "output": output or _drawn(job)}


def _drawn(job: Mapping[str, Any]) -> dict[str, Any]:
    seed, scale = job["seed"], 1 if job.get("until") else 2
    image = base64.b64encode(png(seed, "", 96 * scale, 128 * scale)).decode()
    told: dict[str, Any] = {"images": [image], "seeds": [seed], "pictures": [{"index": 0, "prompt": job.get("prompt")}]}
    if job.get("output", {}).get("intermediates"):
        told["stages"] = [{"name": "base", "type": "txt2img", "images": [base64.b64encode(png(seed)).decode()]}]
    return told


def _json(told: Mapping[str, Any], status: int = 200) -> Reply:
    return Reply(status, json.dumps(told).encode(), {"Content-Type": "application/json"})


@contextmanager
def drawing_endpoint() -> Iterator[tuple[DrawingEndpoint, Server]]:
    endpoint = DrawingEndpoint()
    with serve(endpoint.answer) as running:
        yield endpoint, running
