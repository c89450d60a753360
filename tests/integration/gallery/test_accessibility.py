"""The page examined by axe-core in each of its views and in both colour schemes, and the way through it by Tab."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.gallery.test_page import CELL, loaded, wait_facts
from tests.support.gallery import fill, finishing_endpoint, served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.support.gallery import Served

    OpenPage = Callable[..., Page]

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("seen")
    names = fill(folder / "pics", 24, candidates=True)
    (folder / "pics" / "broken.png").write_bytes(b"")
    with (
        finishing_endpoint() as (endpoint, running),
        served(folder / "pics", folder / "cache", endpoint=running.url, may_delete=True) as one,
    ):
        one.mark(names[0], flag="pick", stars=4, label=2)
        one.mark(names[1], flag="reject")
        one.mark(names[2], flag="pick", note="the light")
        endpoint.held.set()
        yield one


def findings(page: Page) -> list[str]:
    """What axe-core says against the page as it stands: the rule, how grave, and where."""
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8"))
    told: dict[str, Any] = page.evaluate(
        "(rules) => axe.run(document, {runOnly: {type: 'tag', values: rules}, resultTypes: ['violations']})", RULES
    )
    return [
        f"{found['id']} ({found['impact']}): {' '.join(map(str, node['target']))}: {node['failureSummary']}"
        for found in told["violations"]
        for node in found["nodes"]
    ]


VIEWS: dict[str, tuple[str, ...]] = {
    "grid": (),
    "selection": ("Shift+ArrowRight", "Shift+ArrowRight"),
    "filters": ("f",),
    "picture": ("Space",),
    "parameters": ("Space", "i"),
    "comparison": ("c",),
    "keys": ("?",),
    "review": ("v",),
    "next seeds": ("r",),
    "note": ("t",),
    "jobs": ("u",),
}


@pytest.mark.parametrize(
    ("scheme", "views"),
    [
        pytest.param("light", ("selection", "parameters"), id="some"),
        pytest.param("light", tuple(VIEWS), id="light", marks=pytest.mark.slow),
        pytest.param("dark", tuple(VIEWS), id="dark", marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing_in_any_view(
    gallery: Served, open_page: OpenPage, scheme: str, views: tuple[str, ...]
) -> None:
    page = open_page(gallery.url, color_scheme=scheme, reduced_motion="reduce")
    found: dict[str, list[str]] = {}
    for view in views:
        page.goto(gallery.url)
        loaded(page)
        wait_facts(page)
        page.evaluate("document.getElementById('f-clear').click()")  # kept and rejected ones, too
        for key in VIEWS[view]:
            page.keyboard.press(key)
        page.wait_for_load_state("networkidle")
        if told := findings(page):
            found[view] = told
    assert found == {}


def test_tab_goes_through_every_control_and_the_grid_is_one_stop(gallery: Served, open_page: OpenPage) -> None:
    page = open_page(gallery.url)
    loaded(page)
    page.keyboard.press("f")
    page.keyboard.press("Escape")
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate("document.activeElement.id || document.activeElement.tagName")
        if name in seen:
            break
        seen.append(name)
    wanted = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, a[href], [tabindex="0"]')]
            .filter((one) => one.checkVisibility() && !one.disabled).map((one) => one.id)"""
    )
    assert set(wanted) <= set(seen)
    assert seen.count("grid") == 1
    assert page.evaluate(f"document.querySelectorAll('{CELL}[tabindex]').length") == 0
