"""Whatever comes in, what goes out is a picture or a typed error, as strict JSON; nothing raises, nothing leaks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.common.strict_json import find_flaw
from worker.contract.types.job import Txt2Img
from worker.errors import all_errors

if TYPE_CHECKING:
    from tests.integration.conftest import Worker

CODES = {error.code for error in all_errors()}
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(
        ["Euler a", "a cat", "<lora:add_detail:1>", "data:image/png;base64,AAAA", "http://127.0.0.1/", "-1"]
    )
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=25,
)
fields = st.sampled_from([*Txt2Img.model_fields, "type", "api", "payload", "init_images", "mask", "hires", "nonsense"])
small = st.fixed_dictionaries({"width": st.just(64), "height": st.just(64), "steps": st.just(1)})
inputs = anything | st.builds(
    lambda base, more: {**base, **more}, small, st.dictionaries(fields, anything, min_size=1, max_size=6)
)
jobs = st.builds(
    lambda given, extra: {"id": "job-1", "input": given, **extra},
    inputs,
    st.dictionaries(st.sampled_from(["s3Config", "policy", "webhook", "id"]), anything, max_size=2),
)


def check(worker: Worker, job: dict[str, Any]) -> None:
    answer = worker.run_job(job)
    if not isinstance(answer, dict):  # the WebUI's own listings, asked for raw
        return
    assert find_flaw(answer) is None
    if "error" in answer:
        assert isinstance(answer["error"], str)
        assert answer["error_code"] in CODES
        assert answer["error_code"] != "internal_error", answer
        assert isinstance(answer["retryable"], bool)
        assert len(json.dumps(answer)) < 100_000


LOOSE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=60, suppress_health_check=LOOSE)
@given(job=jobs)
def test_any_json_gets_a_typed_answer(worker: Worker, job: dict[str, Any]) -> None:
    check(worker, job)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@settings(max_examples=10_000, suppress_health_check=LOOSE)
@given(job=jobs)
def test_any_json_gets_a_typed_answer_for_long(worker: Worker, job: dict[str, Any]) -> None:
    check(worker, job)
