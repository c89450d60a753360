"""A call to the WebUI that makes no picture by diffusion, alone on the GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from worker.common.clock import running
from worker.webui.call import call_webui

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices

T = TypeVar("T")


async def call_with_gpu(
    path: str, body: Mapping[str, Any], read: Callable[[Any], T], context: JobContext, services: JobServices
) -> T:
    """Return what `read` finds in the WebUI's answer; a wrong answer is asked for once more.

    Args:
        path: Of the WebUI's API.
        body: To be sent.
        read: Turns the answer's JSON into a value, or raises what is wrong with it; blocking.
        context: The job's.
        services: The worker's.

    Raises:
        WorkerError: see `Executor.call`.
    """

    async def work() -> T:
        left = max(1.0, context.deadline - running())
        content = await call_webui(services.backend, path, body, timeout=left, pool=services.threads.pool)
        return await services.threads.run(read, content)

    return await services.executor.call(work, context.deadline, context.phases)
