"""What the log is told of a job."""

from __future__ import annotations

from worker.telemetry.observer import batch_keys


def test_the_platforms_names_for_a_batch_are_told_and_nothing_else() -> None:
    job = {
        "id": "a",
        "input": {"batchId": "mine"},
        "batchId": "b-1",
        "customId": 7,
        "webhook": "https://x",
        "batch_id": {},
    }
    assert batch_keys(job) == {"batchId": "b-1", "customId": "7"}


def test_a_name_can_not_break_the_log() -> None:
    assert batch_keys({"batchId": "a\nb" + "x" * 1000}) == {"batchId": "ab" + "x" * 98}
