from __future__ import annotations

import asyncio

import pytest

from worker.stages.within import within


def test_what_is_done_in_time_is_returned() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert asyncio.run(within(10, work())) == 7


def test_work_is_interrupted_when_its_time_is_over_and_may_clean_up() -> None:
    cleaned: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append("up")

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(within(0.01, work()))
    assert cleaned == ["up"]


def test_a_cancel_from_outside_stays_a_cancel() -> None:
    async def main() -> None:
        task = asyncio.ensure_future(within(10, asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())


def test_the_task_works_on_after_the_time_was_over() -> None:
    async def main() -> str:
        with pytest.raises(asyncio.TimeoutError):
            await within(0.01, asyncio.Event().wait())
        await asyncio.sleep(0)  # where a cancel that came too late would end it
        return "alive"

    assert asyncio.run(main()) == "alive"


def test_errors_pass_through() -> None:
    async def work() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        asyncio.run(within(10, work()))


def test_work_that_ends_in_spite_of_the_interrupt_leaves_no_cancel_behind() -> None:
    async def stubborn() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return 7
        return 0

    async def main() -> None:
        assert await within(0.01, stubborn()) == 7
        await within(0.01, asyncio.Event().wait())

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(main())


def test_work_that_never_waits_needs_no_task_and_no_time() -> None:
    async def work() -> int:
        return 7

    steps = within(0, work())
    with pytest.raises(StopIteration) as done:
        steps.send(None)
    assert done.value.value == 7


def test_work_may_outlive_a_cancel_at_its_first_step() -> None:
    async def stubborn() -> str:
        for _ in range(2):
            with pytest.raises(asyncio.CancelledError):
                await asyncio.Event().wait()
        return "done"

    async def main() -> str:
        task = asyncio.ensure_future(within(10, stubborn()))
        for _ in range(2):
            await asyncio.sleep(0)
            task.cancel()
        return await task

    assert asyncio.run(main()) == "done"
