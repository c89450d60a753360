"""Why a job waits at an endpoint, by what its health tells."""

from __future__ import annotations

from typing import Any

import pytest

from worker.client.queue_reason import queue_reason


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ({}, "no worker is up"),
        ({"idle": 0, "throttled": 0}, "Its maximum may be 0"),
        ({"idle": "many"}, "no worker is up"),
        ({"throttled": 1}, "1 worker is throttled"),
        ({"unhealthy": 3}, "3 workers are unhealthy"),
        ({"initializing": 1, "throttled": 2}, "1 worker is starting"),
        ({"running": 2}, "2 workers are busy"),
    ],
)
def test_the_reason_of_a_wait_is_told(workers: dict[str, Any], words: str) -> None:
    assert words in str(queue_reason({"workers": workers}))


@pytest.mark.parametrize("health", [{}, {"workers": None}, {"workers": {"idle": 1}}])
def test_no_reason_is_made_up(health: dict[str, Any]) -> None:
    assert queue_reason(health) is None
