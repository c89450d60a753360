from __future__ import annotations

import asyncio

import pytest

from worker.common.interruption import Interruption, Interruptions
from worker.errors import InvalidInput


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


def test_a_job_that_has_pictures_ends_with_them_while_it_does_something_else() -> None:
    async def story() -> tuple[bool, str | None, str | None]:
        interruption, begun = Interruption(), asyncio.Event()

        async def waiting() -> str:
            begun.set()
            await asyncio.Event().wait()
            return "never"

        interruption.has_pictures = True
        running = asyncio.ensure_future(interruption.unless_ended(waiting))
        await begun.wait()
        return interruption.ask("interrupt"), await running, await interruption.unless_ended(waiting)

    assert asyncio.run(story()) == (True, None, None)


def test_a_job_without_pictures_that_generates_nothing_is_not_ended() -> None:
    async def story() -> tuple[bool, str | None]:
        interruption, begun, end = Interruption(), asyncio.Event(), asyncio.Event()

        async def making() -> str:
            begun.set()
            await end.wait()
            return "made"

        running = asyncio.ensure_future(interruption.unless_ended(making))
        await begun.wait()
        heard = interruption.ask("interrupt")
        end.set()
        return heard, await running

    assert asyncio.run(story()) == (False, "made")


def test_a_skip_between_two_pictures_is_not_an_end() -> None:
    interruption = Interruption()
    interruption.has_pictures = True
    assert not interruption.ask("skip")
    assert not interruption.is_ended


def test_a_cancelled_job_is_cancelled_whatever_it_has_made_and_not_before_its_work_has_ended() -> None:
    async def story() -> list[str]:
        interruption, begun, told = Interruption(), asyncio.Event(), list[str]()

        async def making() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                told.append("the work has ended")

        interruption.has_pictures = True
        running = asyncio.ensure_future(interruption.unless_ended(making))
        await begun.wait()
        running.cancel()
        try:
            await running
        except asyncio.CancelledError:
            told.append("cancelled")
        return told

    assert asyncio.run(story()) == ["the work has ended", "cancelled"]


def test_a_mistake_is_told_also_in_a_job_that_has_pictures() -> None:
    async def failing() -> None:
        raise InvalidInput.at("prompt", "is wrong")

    async def story() -> None:
        interruption = Interruption()
        interruption.has_pictures = True
        await interruption.unless_ended(failing)

    with pytest.raises(InvalidInput):
        asyncio.run(story())


def test_pictures_that_are_being_checked_are_not_given_up() -> None:
    async def story() -> tuple[bool, str | None, bool]:
        interruption, made, checked = Interruption(), asyncio.Event(), asyncio.Event()

        async def making() -> str:
            interruption.note_pictures()
            made.set()
            await checked.wait()
            return "pictures"

        running = asyncio.ensure_future(interruption.unless_ended(making))
        await made.wait()
        heard = interruption.ask("interrupt")
        checked.set()
        return heard, await running, interruption.is_ended

    assert asyncio.run(story()) == (True, "pictures", True)
