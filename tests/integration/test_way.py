"""The way of a plain job through the worker: short enough to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import way

if TYPE_CHECKING:
    from pathlib import Path

MOST_MODULES = 98
MOST_FOLDER_CHANGES = 275
MOST_PART_CHANGES = 180
"""A few more than the way takes: some steps run in threads, and how they take turns changes from run to run."""


def test_a_plain_job_enters_few_modules_and_seldom_changes_folder(tmp_path: Path) -> None:
    figures = {figure.name: figure.value for figure in way.run(tmp_path)}
    assert figures["way.modules"] <= MOST_MODULES
    assert figures["way.folder_changes"] <= MOST_FOLDER_CHANGES
    assert figures["way.part_changes"] <= MOST_PART_CHANGES
