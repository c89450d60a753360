"""The clients of A1111's API: whose job a progress, an interrupt or a remembered option belongs to.

A1111 has one user; its API names neither jobs nor clients. Here a client is told by its ``Authorization`` header, its
address, and the ``X-Forwarded-For`` of a proxy in front. Two programs of one person at one machine are therefore one
client, as they would be at a WebUI of their own, and so are the several connections of one program. People who share an
address and a key are told apart by the user name they send before the key.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.telemetry.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request

    from worker.serving.gateway import GatewayJob, JobSnapshot

MAX_CLIENTS = 1000
"""Clients whose options are remembered; the one that has been quiet longest is forgotten first."""


def client_key(request: Request) -> bytes:
    """Return the name of the client that sent `request`: a hash, because it holds a credential."""
    address = request.client.host if request.client is not None else ""
    parts = [
        address,
        *request.headers.getlist("Authorization"),
        "\n",
        *request.headers.getlist("X-Forwarded-For"),
    ]
    return hashlib.sha256("\n".join(parts).encode()).digest()


@dataclass(slots=True, eq=False)
class ClientJob:
    """A job that makes pictures for a client.

    Attributes:
        job: The job.
        batches: Its `n_iter`, as A1111 counts in ``job_count``.
        batch_size: Pictures of a batch.
        started_at: Seconds since the epoch.
        preview: The unfinished picture that came last, base64.
        is_interrupted: Whether the client has interrupted it.
        skipped_batch: The batch that it has skipped last, from 0.
    """

    job: GatewayJob
    batches: int = 1
    batch_size: int = 1
    started_at: float = field(default_factory=time.time)
    preview: str | None = field(default=None, repr=False)
    is_interrupted: bool = False
    skipped_batch: int | None = None

    def snapshot(self) -> JobSnapshot:
        """Return its state."""
        return self.job.snapshot()

    @property
    def batch(self) -> int:
        """The batch that is being made, from 0."""
        progress = self.snapshot().progress
        image = 1 if progress is None or progress.image is None else progress.image
        return min(max(0, image - 1) // max(1, self.batch_size), self.batches - 1)

    async def interrupt(self) -> None:
        """End it with the pictures made by now."""
        self.is_interrupted = True
        await self.job.interrupt("interrupt")

    async def skip(self) -> None:
        """Go on to its next batch; where that can't be, only the last one is skipped, whose end is the job's."""
        self.skipped_batch = self.batch
        can_skip = await self.job.interrupt("skip")
        if not can_skip and self.batch + 1 == self.batches and self.snapshot().phase == "running":
            await self.interrupt()

    async def follow(self) -> None:
        """Keep its newest preview, which is told only once, until it is over."""
        async for event in self.job.events():
            if isinstance(event, Progress) and event.preview is not None:
                self.preview = event.preview


@dataclass(slots=True, eq=False)
class ApiClient:
    """The state of one client.

    Attributes:
        options: Options of the WebUI that it has set, which go with its jobs.
        jobs: Its jobs that are not over, oldest first.
        wants_previews: Whether it has asked for the unfinished picture before.
    """

    options: dict[str, Any] = field(default_factory=dict)
    jobs: list[ClientJob] = field(default_factory=list)
    wants_previews: bool = False

    @property
    def current_job(self) -> ClientJob | None:
        """The job that A1111 would be working on: the oldest that is not over."""
        return next((job for job in self.jobs if not job.snapshot().is_over), None)

    @contextlib.contextmanager
    def working_on(self, job: ClientJob) -> Iterator[None]:
        """Count `job` among the client's jobs for the time of the context."""
        self.jobs.append(job)
        following = asyncio.ensure_future(job.follow())
        following.add_done_callback(_consume_exception)
        try:
            yield
        finally:
            following.cancel()
            self.jobs.remove(job)


class ClientRegistry:
    """All clients, by `client_key`; lives in one event loop.

    Args:
        key_of: Names the client of a request.
        max_clients: Most that are remembered.
    """

    def __init__(self, key_of: Callable[[Request], bytes] = client_key, *, max_clients: int = MAX_CLIENTS) -> None:
        self._key_of = key_of
        self._max_clients = max_clients
        self._clients: OrderedDict[bytes, ApiClient] = OrderedDict()

    def of(self, request: Request) -> ApiClient:
        """Return the client that sent `request`."""
        key = self._key_of(request)
        client = self._clients.setdefault(key, ApiClient())
        self._clients.move_to_end(key)
        while len(self._clients) > self._max_clients:
            quiet = next(
                (name for name, known in self._clients.items() if not known.jobs and known is not client), None
            )
            if quiet is None:
                break
            del self._clients[quiet]
        return client


def _consume_exception(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # a job's failure is told by its result
