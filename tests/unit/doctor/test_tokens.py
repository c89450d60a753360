"""Each token is shown to its own host and to nobody else."""

from __future__ import annotations

import pytest
import responses

from worker.doctor.outside import WHO, outside
from worker.settings import read_settings

CIVITAI, HUB = WHO["CivitAI"], WHO["Hugging Face"]


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (401, "fail"), (403, "fail"), (503, "warn")])
@responses.activate
def test_tokens_are_checked_where_they_belong(status: int, state: str) -> None:
    responses.get(CIVITAI, status=status)
    responses.get(HUB, status=status)
    settings = read_settings({"CIVITAI_API_KEY": "for-civitai", "HF_TOKEN": "for-the-hub"})
    found = {finding.what: finding.state for finding in outside(settings)}
    assert (found["CivitAI token"], found["Hugging Face token"]) == (state, state)
    shown = {call.request.url: call.request.headers["Authorization"] for call in responses.calls}
    assert shown == {CIVITAI: "Bearer for-civitai", HUB: "Bearer for-the-hub"}


@responses.activate
def test_without_tokens_nobody_is_asked() -> None:
    found = [finding for finding in outside(read_settings({})) if "token" in finding.what]
    assert {finding.state for finding in found} == {"ok"}
    assert len(responses.calls) == 0
