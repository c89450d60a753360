"""Jobs about models, through the whole worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.conftest import Worker


def test_the_models_of_the_volume_are_listed(worker: Worker) -> None:
    answer = worker.run_job({"input": {"action": "models.list", "what": ["checkpoint"]}})
    assert {each["kind"] for each in answer["items"]["models"]} == {"checkpoint"}
    assert "Deliberate_v6" in {each["name"] for each in answer["items"]["models"]}


def test_models_that_are_there_are_not_fetched_again(worker: Worker) -> None:
    answer = worker.run_job({"input": {"action": "models.prefetch", "models": [{"name": "Deliberate v6"}]}})
    assert [each["fetched"] for each in answer["items"]["models"]] == [False]


def test_removal_is_refused_unless_the_operator_allows_it(worker: Worker) -> None:
    answer = worker.run_job({"input": {"action": "models.remove", "models": ["Deliberate v6"]}})
    assert answer["error_code"] == "invalid_input"
    assert "MODEL_REMOVE" in answer["error"]
