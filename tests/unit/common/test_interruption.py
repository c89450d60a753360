from __future__ import annotations

import asyncio

from worker.common.interruption import Interruption, Interruptions


def test_a_wish_is_heard_only_while_something_is_made() -> None:
    async def scenario() -> None:
        interruption = Interruption()
        assert not interruption.ask("interrupt")
        assert not interruption.is_ended
        with interruption.heard() as wishes:
            assert interruption.ask("skip")
            assert not interruption.is_ended
            assert interruption.ask("interrupt")
            assert interruption.is_ended
            assert [wishes.get_nowait(), wishes.get_nowait()] == ["skip", "interrupt"]
        assert not interruption.ask("skip")

    asyncio.run(scenario())


def test_wishes_reach_the_job_of_that_id_while_it_lasts() -> None:
    async def scenario() -> None:
        jobs, interruption = Interruptions(), Interruption()
        with jobs.of("a", interruption), interruption.heard():
            assert not jobs.ask("b", "interrupt")
            assert jobs.ask("a", "interrupt")
        assert not jobs.ask("a", "interrupt")

    asyncio.run(scenario())
