"""Nothing goes on after a job: no task, no request to the WebUI."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.integration.conftest import Worker


def test_no_task_outlives_its_job(worker: Worker) -> None:
    async def jobs() -> list[str]:
        body: dict[str, Any] = {"prompt": "a cat", "steps": 1, "width": 64, "height": 64}
        for number in range(5):
            job = {"id": f"job-{number}", "input": {**body, "seed": number}}
            assert "images" in await worker.host.run(job, on_progress=lambda _: None)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others, timeout=2) if others else None
        return [repr(task) for task in asyncio.all_tasks() - {asyncio.current_task()}]

    assert asyncio.run(jobs()) == []
