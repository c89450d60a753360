"""The worker's life: every sequence of events leads along allowed moves, and the end is the end."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from worker.lifecycle import MOVES, OVER, Event, ImpossibleEventError, State, WorkerState


class Lives(RuleBasedStateMachine):
    """Tells a life every event that can happen, in any order, beside a count of our own."""

    def __init__(self) -> None:
        super().__init__()
        self.life = WorkerState()
        self.jobs = 0
        self.up = False

    def tell(self, event: Event) -> None:
        before = self.life.state
        self.life = self.life.after(event)
        assert self.life.state is before or self.life.state in MOVES[before], (before, event, self.life.state)

    @precondition(lambda self: not self.up)
    @rule()
    def up_again(self) -> None:
        self.tell(Event.UP)
        self.up = True

    @precondition(lambda self: self.up)
    @rule()
    def lost(self) -> None:
        self.tell(Event.LOST)
        self.up = False

    @rule()
    def begun(self) -> None:
        self.tell(Event.BEGUN)
        self.jobs += 1

    @precondition(lambda self: self.jobs > 0)
    @rule()
    def ended(self) -> None:
        self.tell(Event.ENDED)
        self.jobs -= 1

    @rule()
    def drain(self) -> None:
        self.tell(Event.DRAIN)

    @precondition(lambda self: not self.up)
    @rule()
    def given_up(self) -> None:
        self.tell(Event.GIVEN_UP)

    @rule()
    def closed(self) -> None:
        self.tell(Event.CLOSED)
        self.up = False

    @invariant()
    def the_state_tells_the_truth(self) -> None:
        state = self.life.state
        if state in OVER:
            return
        if self.life.draining:
            assert state is State.DRAINING
        elif self.up:
            assert state is (State.BUSY if self.jobs else State.READY)
        else:
            assert state in {State.STARTING, State.RECOVERING}

    @invariant()
    def what_is_over_stays_over(self) -> None:
        if self.life.state in OVER:
            assert all(self.life.after(event) is self.life for event in Event)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=60, stateful_step_count=30)


@pytest.mark.parametrize("event", [Event.LOST, Event.ENDED])
def test_what_can_not_happen_is_a_defect_of_whoever_tells_it(event: Event) -> None:
    with pytest.raises(ImpossibleEventError):
        WorkerState().after(event)


def test_a_webui_that_works_can_not_come_up_again_nor_be_given_up() -> None:
    life = WorkerState().after(Event.UP)
    for event in (Event.UP, Event.GIVEN_UP):
        with pytest.raises(ImpossibleEventError):
            life.after(event)


def test_a_crash_in_the_middle_of_a_job_and_back() -> None:
    life = WorkerState()
    seen = [life.state]
    for event in (Event.UP, Event.BEGUN, Event.LOST, Event.UP, Event.ENDED, Event.DRAIN, Event.CLOSED):
        life = life.after(event)
        seen.append(life.state)
    assert seen == [
        State.STARTING,
        State.READY,
        State.BUSY,
        State.RECOVERING,
        State.BUSY,
        State.READY,
        State.DRAINING,
        State.STOPPED,
    ]
