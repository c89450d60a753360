from __future__ import annotations

import asyncio
import gc

import pytest

from worker.common.cancellation import of_others_too, shielded


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


def test_work_that_others_wait_for_too_outlives_a_cancelled_wait_and_fails_in_silence() -> None:
    complaints: list[str] = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, told: complaints.append(told["message"]))
        work: asyncio.Future[int] = loop.create_future()

        async def wait() -> int:
            return await of_others_too(work)

        first, second = asyncio.ensure_future(wait()), asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        for task in (first, second):
            task.cancel()
        await asyncio.wait({first, second})
        assert first.cancelled()
        assert not work.done()
        work.set_exception(ValueError("nobody waits any more"))
        await asyncio.sleep(0)

    asyncio.run(run())
    gc.collect()
    assert complaints == []


def test_work_that_others_wait_for_too_ends_for_those_who_wait() -> None:
    async def run() -> list[int | BaseException]:
        work: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        waits = [asyncio.ensure_future(asyncio.wait_for(of_others_too(work), 5)) for _ in range(2)]
        await asyncio.sleep(0)
        waits[0].cancel()
        work.set_result(7)
        return await asyncio.gather(*waits, return_exceptions=True)

    first, second = asyncio.run(run())
    assert isinstance(first, asyncio.CancelledError)
    assert second == 7


def test_shielded_work_returns_and_raises_as_if_it_were_awaited_alone() -> None:
    async def work(value: int) -> int:
        await asyncio.sleep(0)
        return 10 // value

    assert asyncio.run(shielded(work(5))) == 2
    with pytest.raises(ZeroDivisionError):
        asyncio.run(shielded(work(0)))
