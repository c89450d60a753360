"""Labels of a plot's rows and columns."""

from __future__ import annotations

from typing import Any

import pytest

from worker.contract.types.composed.plot import PlotAxis
from worker.jobs.composed.plots import label_of


@pytest.mark.parametrize(
    ("field", "value", "label"),
    [
        ("steps", 10, "steps: 10"),
        ("cfg_scale", 7.5, "cfg_scale: 7.5"),
        ("tiling", True, "tiling: true"),
        ("sampler_name", "Euler a", "Euler a"),
        ("checkpoint", {"name": "Deliberate_v6"}, "checkpoint: Deliberate_v6"),
        ("loras", [], "loras: none"),
        ("loras", ["a", {"name": "b", "scale": 0.5}], "loras: a, b 0.5"),
    ],
)
def test_names_speak_for_themselves_and_numbers_come_with_their_field(field: str, value: Any, label: str) -> None:
    assert label_of(PlotAxis(field=field, values=[value]), value) == label
