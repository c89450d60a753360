from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.telemetry.progress import Progress, Throttle, within


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def throttle(clock: Clock) -> Throttle:
    return Throttle(min_interval_s=1.0, min_percent=5.0, clock=clock)


def test_the_first_progress_is_told_at_once() -> None:
    assert throttle(Clock()).due_in(Progress("prepare")) == 0.0


def test_several_requests_of_one_job_count_as_one_way() -> None:
    told: list[Progress] = []
    for number in range(2):
        sink = within(told.append, number, [2, 1])
        sink(Progress("prepare"))
        sink(Progress("generate", percent=90, image=1, images=2, eta_s=3.0))
    assert [(one.percent, one.image, one.images, one.eta_s) for one in told] == [
        (0, None, 3, None),
        (45, 1, 3, None),
        (45, None, 3, None),
        (90, 3, 3, 3.0),
    ]
    assert within(told.append, 0, [4]) == told.append


def test_the_next_waits_for_the_interval() -> None:
    clock = Clock()
    decision = throttle(clock)
    decision.tell(Progress("generate", percent=10))
    clock.now += 0.25
    assert decision.due_in(Progress("generate", percent=50)) == 0.75
    clock.now += 5
    assert decision.due_in(Progress("generate", percent=50)) == 0.0


def test_a_small_gain_is_not_worth_telling_but_a_new_stage_is() -> None:
    decision = throttle(Clock())
    decision.tell(Progress("generate", percent=10))
    assert decision.due_in(Progress("generate", percent=12)) is None
    assert decision.due_in(Progress("deliver", percent=10)) == 1.0


def test_only_what_is_known_is_told() -> None:
    assert Progress("generate", percent=33.333, step=1).to_json() == {"stage": "generate", "percent": 33.3, "step": 1}


@given(st.lists(st.floats(min_value=-50, max_value=500)))
def test_percentages_never_fall_and_stay_within_bounds(percents: list[float]) -> None:
    decision = throttle(Clock())
    told = [decision.tell(Progress("generate", percent=percent)).percent for percent in percents]
    assert told == sorted(told)
    assert all(0 <= percent <= 100 for percent in told)
