from __future__ import annotations

import asyncio

import pytest

from worker.common.cancellation import shielded


def test_shielded_work_finishes_however_often_its_caller_is_cancelled() -> None:
    async def story() -> list[str]:
        told: list[str] = []
        may_end = asyncio.Event()

        async def work() -> None:
            await may_end.wait()
            told.append("done")

        task = asyncio.ensure_future(shielded(work()))
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return told

    assert asyncio.run(story()) == ["done"]


def test_shielded_work_returns_and_raises_as_if_it_were_awaited_alone() -> None:
    async def work(value: int) -> int:
        await asyncio.sleep(0)
        return 10 // value

    assert asyncio.run(shielded(work(5))) == 2
    with pytest.raises(ZeroDivisionError):
        asyncio.run(shielded(work(0)))
