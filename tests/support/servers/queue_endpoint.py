"""A RunPod queue endpoint as its customers see it, on loopback: workers take its jobs from a `JobSource`."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.loopback_http import Reply, Request, serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.jobsource import JobSource

ENDPOINT = "abc123"
KEY = "rpa_sesame"


@dataclass
class QueueEndpoint:
    """``api.runpod.ai/v2/<id>``.

    Attributes:
        source: Where workers take the jobs.
        url: Of the API, without the endpoint's id.
        key: The customer's.
        workers: What ``/health`` says of the workers.
        runs: Inputs of all jobs, oldest first.
        cancelled: Ids of jobs that a client has cancelled.
    """

    source: JobSource
    url: str = ""
    key: str = KEY
    workers: dict[str, int] = field(default_factory=lambda: {"idle": 1, "running": 0})
    runs: list[dict[str, Any]] = field(default_factory=list)
    cancelled: set[str] = field(default_factory=set)
    _streamed: dict[str, int] = field(default_factory=dict)

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.key}":
            return Reply(401)
        told: dict[str, Any]
        match request.path.split("/")[3:]:
            case ["run"]:
                job = json.loads(request.body)
                self.runs.append(job["input"])
                told = {"id": self.source.offer(job), "status": "IN_QUEUE"}
            case ["status", job_id]:
                told = self._status(job_id)
            case ["stream", job_id]:
                told = self._stream(job_id)
            case ["cancel", job_id]:
                self.cancelled.add(job_id)
                if not self.source.withdraw(job_id):
                    self.source.cancel(job_id)
                told = {"id": job_id, "status": "CANCELLED"}
            case ["health"]:
                told = {"jobs": {"inQueue": self.source.waiting()}, "workers": self.workers}
            case _:
                return Reply(404)
        return Reply(200, json.dumps(told).encode(), {"Content-Type": "application/json"})

    def _status(self, job_id: str) -> dict[str, Any]:
        if job_id in self.cancelled:
            return {"id": job_id, "status": "CANCELLED"}
        done = self.source.events("done", job_id)
        if done:
            body = done[-1].data
            status = "FAILED" if body.get("error") else "COMPLETED"
            return {"id": job_id, "status": status, **{key: body[key] for key in ("output", "error") if key in body}}
        progress = self.source.events("progress", job_id)
        status = "IN_PROGRESS" if self.source.events("taken", job_id) else "IN_QUEUE"
        return {"id": job_id, "status": status, **({"output": progress[-1].data} if progress else {})}

    def _stream(self, job_id: str) -> dict[str, Any]:
        """Return the pieces that came since the last question: the platform tells each once."""
        status = self._status(job_id)["status"]
        pieces = self.source.events("stream", job_id)
        before = self._streamed.get(job_id, 0)
        self._streamed[job_id] = len(pieces)
        return {
            "id": job_id,
            "status": status,
            "stream": [{"output": piece.data["output"]} for piece in pieces[before:]],
        }


@contextmanager
def queue_endpoint(source: JobSource) -> Iterator[QueueEndpoint]:
    endpoint = QueueEndpoint(source)
    with serve(endpoint.answer) as server:
        endpoint.url = f"{server.url}/v2"
        yield endpoint
