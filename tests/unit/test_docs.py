"""The docs that are made from the code are as the code is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.docs import TABLES, fill

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_tables_have_not_drifted(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert fill(text) == text, "run `make docs`"


def test_the_readme_has_the_tables_that_it_promises() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- table: (\w+) -->", text)) >= {"settings", "errors"}
    assert set(TABLES) >= {"settings", "errors"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} → {target}"


def test_every_folder_and_file_in_the_architecture_picture_exists() -> None:
    pictures = re.findall(
        r"```mermaid\n(.*?)```", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"), re.DOTALL
    )
    names = re.findall(r'\["([\w.]+(?:/|\.py)): ', pictures[0])
    assert len(names) >= 10
    for name in names:
        assert (ROOT / name).exists() or (ROOT / "worker" / name).exists(), name
