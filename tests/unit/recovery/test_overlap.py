"""Requests in flight at the same time: what an answer has to wait for, and when it does not count."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from worker.errors import DeadlineExceeded, WebUICrashed
from worker.recovery.overlap import RequestsInFlight


def test_an_answer_counts_once_every_earlier_request_has_ended() -> None:
    async def story() -> None:
        requests = RequestsInFlight()
        with ExitStack() as earlier:
            first = earlier.enter_context(requests.begin())
            with requests.begin() as second:
                waiting = asyncio.create_task(second.confirmed(requests.clock() + 10))
                await first.confirmed(requests.clock() + 10)
                assert not waiting.done()
                earlier.close()
                await waiting

    asyncio.run(story())


def test_an_answer_whose_process_an_earlier_request_found_broken_does_not_count() -> None:
    async def story() -> None:
        requests = RequestsInFlight()
        with ExitStack() as earlier:
            first = earlier.enter_context(requests.begin())
            with requests.begin() as second:
                first.invalidate_others()
                assert (first.invalidated, second.invalidated) == (False, True)
                earlier.close()
                with pytest.raises(WebUICrashed):
                    await second.confirmed(requests.clock() + 10)

    asyncio.run(story())


def test_nobody_waits_longer_than_the_deadline() -> None:
    async def story() -> None:
        requests = RequestsInFlight(lambda: 100.0)
        with requests.begin(), requests.begin() as second:
            with pytest.raises(DeadlineExceeded):
                await asyncio.wait_for(second.confirmed(100.01), 5)
            with pytest.raises(DeadlineExceeded):
                await asyncio.wait_for(second.confirmed(50.0), 5)

    asyncio.run(story())


def test_a_request_that_has_ended_is_nobodys_concern_any_more() -> None:
    async def story() -> None:
        requests = RequestsInFlight()
        with requests.begin() as first:
            assert requests.all == [first]
        assert requests.all == []
        with requests.begin() as second:
            second.invalidate_others()
            await second.confirmed(requests.clock())
        assert not first.invalidated

    asyncio.run(story())


@pytest.mark.parametrize("turns", range(6))
def test_a_cancel_is_heard_also_in_the_moment_in_which_the_earlier_request_ends(turns: int) -> None:
    async def story() -> None:
        requests = RequestsInFlight()
        with ExitStack() as earlier:
            earlier.enter_context(requests.begin())
            with requests.begin() as second:
                waiting = asyncio.create_task(second.confirmed(requests.clock() + 10))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                earlier.close()
                for _ in range(turns):
                    await asyncio.sleep(0)
                was_waiting = waiting.cancel()
                await asyncio.wait({waiting})
                assert waiting.cancelled() is was_waiting

    asyncio.run(story())
