"""An endpoint, from asynchronous code: the same, each request in a thread, and none held while a job runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from worker.client.endpoint import Endpoint, EndpointJob
from worker.client.polling import Polling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from worker.client.job_state import Answer, JobState, ResultPicture


class AsyncEndpoint:
    """As `Endpoint`, with coroutines.

    Args:
        where: RunPod's endpoint id, or the URL of `worker serve`.
        options: As for `Endpoint`.
    """

    def __init__(self, where: str, **options: Any) -> None:
        self.sync = Endpoint(where, **options)

    async def run(self, job: Mapping[str, Any], **more: Any) -> AsyncJob:
        """Send a job and return at once, like `Endpoint.run`."""
        return AsyncJob(await asyncio.to_thread(self.sync.run, job, **more))

    async def runsync(self, job: Mapping[str, Any], *, timeout: float | None = None, **more: Any) -> Answer:
        """Send a job and return its answer, like `Endpoint.runsync`. A cancelled task stops asking; the job goes on."""
        return await (await self.run(job, **more)).wait(timeout)

    async def job(self, job_id: str, *, worker: str | None = None) -> AsyncJob:
        """Return the job with an id, like `Endpoint.job`."""
        return AsyncJob(await asyncio.to_thread(self.sync.job, job_id, worker=worker))

    async def health(self) -> dict[str, Any]:
        """Return the endpoint's health, like `Endpoint.health`."""
        return await asyncio.to_thread(self.sync.health)


class AsyncJob:
    """As `EndpointJob`, with coroutines."""

    def __init__(self, job: EndpointJob) -> None:
        self.sync = job

    @property
    def id(self) -> str:
        """Its name at the endpoint."""
        return self.sync.id

    @property
    def state(self) -> JobState:
        """As last heard."""
        return self.sync.state

    async def stream(self, timeout: float | None = None) -> AsyncIterator[JobState]:
        """Yield the job's states, like `Job.stream`."""
        polling = Polling(self.id, timeout, self.sync.now())
        while True:
            if polling.is_news(self.state):
                yield self.state
            if self.state.over:
                return
            await asyncio.sleep(polling.pause_s(self.sync.now()))
            with polling.patiently(self.sync.now):
                await asyncio.to_thread(self.sync.refresh)
            await asyncio.to_thread(self.sync.look_why_it_waits, polling)

    async def pictures(self, timeout: float | None = None) -> AsyncIterator[ResultPicture]:
        """Yield the job's pictures, like `Job.pictures`."""
        pictures = self.sync.pictures(timeout)
        while (picture := await asyncio.to_thread(next, pictures, None)) is not None:
            yield picture

    async def wait(self, timeout: float | None = None) -> Answer:
        """Return the job's answer, like `Job.wait`."""
        async for _ in self.stream(timeout):
            continue
        return self.state.answer()

    async def cancel(self) -> JobState:
        """Cancel the job, like `Job.cancel`."""
        return await asyncio.to_thread(self.sync.cancel)
