"""When a generation counts as hung, decided without a WebUI."""

from __future__ import annotations

import math
from typing import Any

import pytest

from worker.webui.execute.stall import StallDetector, StallLimits

BEGAN = 1000.0


def state(step: int, job: str = "txt2img", steps: int = 20) -> dict[str, Any]:
    return {"state": {"job": job, "job_no": 0, "job_count": 1, "sampling_step": step, "sampling_steps": steps}}


def detector(pixels: int = 0, *, switches_models: bool = False, **limits: Any) -> StallDetector:
    told = StallLimits(**{"progress": 120.0, **limits})
    return StallDetector(began=BEGAN, limits=told, pixels=pixels, switches_models=switches_models)


def heard(stall: StallDetector, *steps: tuple[float, int]) -> StallDetector:
    for seconds, step in steps:
        stall.hear(state(step), BEGAN + seconds)
    return stall


def test_a_generation_that_moves_is_never_stalled() -> None:
    stall = detector(progress=10)
    for step in range(20):
        moment = BEGAN + step * 9 + 9
        assert stall.verdict(moment) is None
        stall.hear(state(step), moment)
    assert stall.done == {"step": 19, "steps": 20, "batches_done": 0, "batches": 1}


def test_one_that_stands_still_is_stalled_and_answers_of_an_idle_webui_are_no_progress() -> None:
    stall = heard(detector(progress=10), (1, 0), (8, 0))
    stall.hear(state(3, job=""), BEGAN + 10)
    assert stall.left(BEGAN + 10.9) > 0
    assert stall.verdict(BEGAN + 11) == "the WebUI made no progress for 10 s"


def test_large_pictures_and_models_being_loaded_get_more_time() -> None:
    assert detector(4 * 1024 * 1024, progress=10).limit == 40
    assert detector(load=60, progress=10).limit == 70


def test_once_the_pace_is_known_a_hang_is_noticed_after_thirty_seconds() -> None:
    stall = heard(detector(load=600), (50, 1), (51, 2), (52, 3))
    assert stall.left(BEGAN + 81.9) > 0
    assert stall.left(BEGAN + 82) <= 0


def test_slow_steps_get_the_time_of_ten() -> None:
    assert heard(detector(), (10, 1), (15, 2), (23, 4)).limit == 50
    assert heard(detector(progress=10), (1, 1), (6, 2)).limit == 50


def test_an_operators_shorter_limit_holds_also_when_the_pace_is_known() -> None:
    assert heard(detector(progress=5), (1, 1), (1.1, 2)).limit == 5


@pytest.mark.parametrize(("seconds", "limit"), [(6, 30), (40, 100), (4 * 30, 120)])
def test_the_first_steps_tell_the_pace_too_but_never_lengthen_the_limit(seconds: float, limit: float) -> None:
    assert heard(detector(load=600), (2, 0), (2 + seconds, 4)).limit == limit


def test_a_silent_webui_that_works_is_alive() -> None:
    stall = detector(load=600, silence=40)
    stall.is_working(BEGAN + 30)
    assert stall.silent_for(BEGAN + 31) == 1
    assert stall.left(BEGAN + 69) > 0
    assert stall.left(BEGAN + 70) <= 0


@pytest.mark.parametrize("steps", [(), ((1, 0),), ((1, 1), (2, 19)), ((1, 1), (2, 20))])
def test_without_a_pace_and_after_the_last_step_the_long_limit_holds(steps: tuple[tuple[float, int], ...]) -> None:
    assert heard(detector(), *steps).limit == 120


def test_a_request_that_changes_models_between_steps_keeps_the_long_limit() -> None:
    assert heard(detector(switches_models=True), (1, 1), (2, 2), (3, 3)).limit == 120


def test_silence_is_a_hang_however_long_a_model_may_load() -> None:
    stall = detector(load=600, silence=40)
    stall.hear({}, BEGAN + 5)
    assert stall.silent_for(BEGAN + 20) == 15
    assert stall.left(BEGAN + 44.9) > 0
    assert stall.verdict(BEGAN + 45) == "the WebUI answered nothing for 40 s"
    assert detector(load=600).left(BEGAN + 700) > 0


def test_what_has_left_the_gpu_is_not_judged() -> None:
    stall = detector(silence=40)
    stall.left_the_gpu()
    assert stall.left(BEGAN + 10_000) == math.inf
