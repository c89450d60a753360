"""Values of headers as hostile and odd servers write them."""

from __future__ import annotations

import math

import pytest

from worker.net.header_values import LONGEST_WAIT_S, content_length, content_range, retry_after

NOW = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 120 ", 120.0),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:00:00 GMT", 0.0),
        ("Wed, 21 Oct 2099 07:28:00 GMT", LONGEST_WAIT_S),
        ("9" * 400, LONGEST_WAIT_S),
        ("9" * 9000, LONGEST_WAIT_S),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("٣", None),
        ("Wed, 21 Oct 99999 07:28:00 GMT", None),
        ("", None),
    ],
)
def test_a_wait_is_a_finite_number_of_seconds_or_nothing(value: str, seconds: float | None) -> None:
    found = retry_after(value, NOW)
    assert found == seconds
    assert found is None or math.isfinite(found)


@pytest.mark.parametrize(
    ("value", "size"), [("5", 5), ("0", 0), ("", None), ("-5", None), ("5, 5", None), ("²", None), ("9" * 5000, None)]
)
def test_a_length_is_a_number_that_can_be_meant(value: str, size: int | None) -> None:
    assert content_length(value) == size


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("bytes 0-9/20", (0, 20)),
        ("bytes 5-9/*", (5, None)),
        ("bytes */20", None),
        ("items 0-9/20", None),
        (f"bytes 0-9/{'9' * 5000}", None),
        (f"bytes {'9' * 5000}-9/20", None),
    ],
)
def test_a_range_is_told_by_numbers_that_can_be_meant(value: str, told: tuple[int, int | None] | None) -> None:
    assert content_range(value) == told
