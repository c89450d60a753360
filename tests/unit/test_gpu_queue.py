from __future__ import annotations

import asyncio
from contextvars import copy_context

import pytest

from worker.errors import DeadlineExceeded
from worker.gpu_queue import GpuQueue, Turn, Waiting, choose

FAR = 1e9


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def order(models: list[str], *, loaded: str, patience_s: float, now: float = 10.0) -> list[str]:
    """The order in which jobs that came one second apart go, each making its model the loaded one."""

    async def play() -> list[str]:
        future = asyncio.get_running_loop().create_future()
        line = [Waiting(model, float(at), future) for at, model in enumerate(models)]
        gone, current = [], loaded
        while line:
            current = line.pop(choose(line, current, patience_s=patience_s, now=now)).model
            gone.append(current)
        return gone

    return asyncio.run(play())


def test_without_patience_the_order_is_that_of_arrival() -> None:
    assert order(["b", "a", "b", "a"], loaded="a", patience_s=0) == ["b", "a", "b", "a"]


def test_with_patience_jobs_with_the_loaded_checkpoint_go_first() -> None:
    assert order(["b", "a", "b", "a"], loaded="a", patience_s=60) == ["a", "a", "b", "b"]


def test_a_job_that_has_waited_its_patience_out_goes_next() -> None:
    assert order(["b", "a", "b", "a"], loaded="a", patience_s=5)[0] == "b"


def test_patience_is_counted_from_when_a_job_came_whatever_the_clock_says() -> None:
    async def next_one(now: float) -> int:
        future = asyncio.get_running_loop().create_future()
        line = [Waiting("b", 1000.0, future), Waiting("a", 1004.0, future)]
        return choose(line, "a", patience_s=5, now=now)

    assert asyncio.run(next_one(1004.9)) == 1
    assert asyncio.run(next_one(1005.0)) == 0


def test_the_checkpoint_that_was_used_last_lets_its_jobs_pass() -> None:
    async def play() -> list[str]:
        clock = Clock()
        queue = GpuQueue(patience_s=60, clock=clock)
        gone: list[str] = []

        async def job(model: str) -> None:
            with await queue.take(model, deadline=FAR):
                gone.append(model)
                assert queue.loaded == model

        first = await queue.take("a", deadline=FAR)
        waiting = [asyncio.ensure_future(job(model)) for model in ("b", "a", "b", "a")]
        await asyncio.sleep(0)
        first.release()
        await asyncio.gather(*waiting)
        return gone

    assert asyncio.run(play()) == ["a", "a", "b", "b"]


def test_when_nobody_has_the_loaded_checkpoint_the_first_goes() -> None:
    assert order(["b", "c"], loaded="a", patience_s=60) == ["b", "c"]


def test_one_job_holds_the_gpu_and_the_next_gets_it_at_once() -> None:
    async def play() -> None:
        queue = GpuQueue()
        first = await queue.take("a", deadline=FAR)
        second = asyncio.ensure_future(queue.take("a", deadline=FAR))
        await asyncio.sleep(0)
        assert queue.waiting == 1
        assert not second.done()
        first.release()
        first.release()
        with await second:
            assert queue.waiting == 0

    asyncio.run(play())


def test_a_job_whose_time_is_over_leaves_the_line() -> None:
    async def play() -> None:
        clock = Clock()
        queue = GpuQueue(clock=clock)
        with await queue.take("a", deadline=FAR):
            with pytest.raises(DeadlineExceeded):
                await queue.take("a", deadline=clock.now)
            assert queue.waiting == 0
        (await queue.take("a", deadline=FAR)).release()

    asyncio.run(play())


def test_a_cancelled_job_holds_nothing_even_if_its_turn_came_in_that_moment() -> None:
    async def play() -> None:
        queue = GpuQueue()
        first = await queue.take("a", deadline=FAR)
        waiting: asyncio.Future[Turn] = asyncio.ensure_future(queue.take("a", deadline=FAR))
        await asyncio.sleep(0)
        first.release()
        waiting.cancel()
        results = await asyncio.gather(waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        (await queue.take("b", deadline=FAR)).release()

    asyncio.run(play())


def test_busy_seconds_count_every_hold_and_nothing_else() -> None:
    async def play() -> None:
        clock = Clock()
        queue = GpuQueue(clock=clock)
        with await queue.take("a", deadline=FAR):
            clock.now += 3
        clock.now += 10
        with await queue.take("a", deadline=FAR):
            clock.now += 1
            assert queue.busy_s == 4
        assert queue.busy_s == 4

    asyncio.run(play())


def test_a_reservation_keeps_others_out_between_turns() -> None:
    async def story() -> list[str]:
        queue, told = GpuQueue(), []
        begun = asyncio.Event()

        async def other() -> None:
            await begun.wait()
            with await queue.take("b", deadline=FAR):
                told.append("other")

        waits = asyncio.ensure_future(other())
        with queue.reserved():
            with await queue.take("a", deadline=FAR):
                begun.set()
                await asyncio.sleep(0)
                told.append("first")
            with await queue.take("a", deadline=FAR):
                told.append("second")
        await waits
        return told

    assert asyncio.run(story()) == ["first", "second", "other"]


def test_a_job_that_is_about_to_wait_lets_others_in_and_has_its_reservation_back_with_its_next_turn() -> None:
    async def story() -> list[str]:
        queue, told = GpuQueue(), []
        outside = copy_context()  # another job

        async def other(name: str) -> None:
            with await queue.take("b", deadline=FAR):
                told.append(name)

        with queue.reserved():
            with await queue.take("a", deadline=FAR):
                pass
            waits = outside.run(asyncio.ensure_future, other("let in"))
            await asyncio.sleep(0)
            assert not told
            queue.let_others_in()
            await waits
            with await queue.take("a", deadline=FAR):
                told.append("next turn")
            waits = outside.run(asyncio.ensure_future, other("kept out"))
            await asyncio.sleep(0)
            assert told[-1] == "next turn"
        await waits
        return told

    assert asyncio.run(story()) == ["let in", "next turn", "kept out"]


def test_nobody_gives_up_the_reservation_of_another_job() -> None:
    async def story() -> bool:
        queue, begun, end = GpuQueue(), asyncio.Event(), asyncio.Event()

        async def reserving() -> None:
            with queue.reserved():
                with await queue.take("a", deadline=FAR):
                    begun.set()
                await end.wait()

        holder = asyncio.ensure_future(reserving())
        await begun.wait()
        queue.let_others_in()
        waits = asyncio.ensure_future(queue.take("b", deadline=FAR))
        await asyncio.sleep(0)
        is_kept_out = not waits.done()
        end.set()
        await holder
        (await waits).release()
        return is_kept_out

    assert asyncio.run(story())


def test_a_reservation_waits_for_its_first_turn_like_everybody() -> None:
    async def story() -> list[str]:
        queue, told = GpuQueue(), []
        turn = await queue.take("a", deadline=FAR)

        async def reserving() -> None:
            with queue.reserved():
                for name in ("one", "two"):
                    with await queue.take("a", deadline=FAR):
                        told.append(name)

        async def other(name: str) -> None:
            with await queue.take("a", deadline=FAR):
                told.append(name)

        tasks = [asyncio.ensure_future(work) for work in (other("before"), reserving(), other("after"))]
        await asyncio.sleep(0)
        turn.release()
        await asyncio.gather(*tasks)
        return told

    assert asyncio.run(story()) == ["before", "one", "two", "after"]


def test_work_that_a_reservation_leaves_behind_reserves_nothing() -> None:
    async def story() -> None:
        queue = GpuQueue()
        late = asyncio.Event()

        async def left_behind() -> None:
            await late.wait()
            (await queue.take("a", deadline=FAR)).release()

        with queue.reserved():
            task = asyncio.ensure_future(left_behind())
            await asyncio.sleep(0)
        late.set()
        await task
        (await asyncio.create_task(queue.take("b", deadline=FAR))).release()

    asyncio.run(story())
