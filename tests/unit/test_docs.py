"""The docs that are made from the code are as the code is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.docs import fill, topic
from worker.settings import GROUPS, Settings, variables

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
README_LINES = 150


def anchors(page: Path) -> set[str]:
    """The names by which a page's headings can be linked to, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_tables_have_not_drifted(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert fill(text) == text, "run `make docs`"


def test_the_readme_fits_on_a_few_screens() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= README_LINES
    assert set(re.findall(r"<!-- table: (\w+) -->", text)) == {"common_settings"}


def test_every_setting_stands_once_under_a_topic_of_the_settings_page() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    names = [variable.attribute for variable in variables()]
    assert sorted(names) == sorted(Settings.model_fields)
    assert [name for variable in variables() for name in variable.names if f"`{name}`" not in page] == []
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    assert headings == [topic(group) for group in GROUPS]


def test_the_start_page_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)", (ROOT / "docs/README.md").read_text(encoding="utf-8")))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= linked


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            other = page.parent / target if target else page
            assert other.exists(), f"{page.name} → {target}"
            assert not anchor or anchor in anchors(other), f"{page.name} → {target}#{anchor}"


def test_every_folder_and_file_in_the_architecture_picture_exists() -> None:
    pictures = re.findall(
        r"```mermaid\n(.*?)```", (ROOT / "docs/architecture.md").read_text(encoding="utf-8"), re.DOTALL
    )
    names = re.findall(r'\["([\w.]+(?:/|\.py)): ', pictures[0])
    assert len(names) >= 10
    for name in names:
        assert (ROOT / name).exists() or (ROOT / "worker" / name).exists(), name


def test_every_place_to_make_a_change_exists() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    table = page.partition("\n## To change X, go to Y\n")[2].partition("\n## ")[0]
    places = re.findall(r"`([\w/]+(?:/|\.\w+))`", table.partition("|---|---|")[2])
    assert len(places) >= 20
    for place in places:
        assert (ROOT / "worker" / place).exists() or (ROOT / place).exists(), place
