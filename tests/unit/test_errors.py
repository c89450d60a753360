"""What every error's answer keeps to."""

from __future__ import annotations

from worker.errors import InvalidInput, Problem


def test_an_error_lists_a_hundred_mistakes_and_counts_the_rest() -> None:
    many = InvalidInput([Problem(f"loras[{number}]", "no") for number in range(500)])
    again = InvalidInput(many.problems)
    for error in (many, again):
        assert len(error.details["problems"]) == 101
        assert error.details["problems"][-1] == {"path": "", "message": "has 400 mistakes more"}
    assert len(InvalidInput([Problem("a", "b")] * 101).problems) == 101
