from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from worker.cli.embedded_worker import EmbeddedJob

if TYPE_CHECKING:
    from collections.abc import Mapping


class Unasked:
    """A worker whose jobs are all cancelled before they begin."""

    async def run(self, job: Mapping[str, Any], **_: Any) -> Any:
        raise AssertionError(job)


def test_a_job_that_is_cancelled_before_its_first_step_is_over() -> None:
    loop = asyncio.new_event_loop()
    job = EmbeddedJob(Unasked(), loop, "local-1", {"prompt": "a"})  # type: ignore[arg-type]  # the part that is used
    job.cancel()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        assert [state.status for state in job.stream(timeout=10)] == ["CANCELLED"]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
