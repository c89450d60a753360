"""The page with thousands of pictures: what is in the document, and how long the browser is busy at a time."""

from __future__ import annotations

import json
import time
from io import BytesIO
from typing import TYPE_CHECKING

import pytest

from tests.support.gallery import drawing, served
from tests.support.pace import stretched

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import Page

MOST_CELLS = 400
SLACK = 8
"""How much slower than the goal any machine may be; a busy one may take longer still."""

WATCH = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.longest = Math.max(window.longest, entry.duration);
}).observe({ type: "longtask", buffered: false });
"""
SCROLL = """
async () => {
  const scroller = document.getElementById("scroller");
  const heights = new Set(), most = [];
  for (let step = 0; step <= 200; step += 1) {
    scroller.scrollTop = (scroller.scrollHeight - scroller.clientHeight) * step / 200;
    await new Promise(requestAnimationFrame);
    heights.add(scroller.scrollHeight);
    most.push(document.querySelectorAll("[role=gridcell]").length);
  }
  return { heights: [...heights], cells: Math.max(...most), orphans: document.querySelectorAll("img[src='']").length };
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    path = tmp_path_factory.mktemp("many")
    kinds = []
    for number in range(50):
        out = BytesIO()
        drawing(number).save(out, "WEBP", quality=60, method=0)
        kinds.append(out.getvalue())
    for number in range(request.param):
        (path / f"{number:04}-{number}.webp").write_bytes(kinds[number % 50])
    return path


@pytest.mark.slow
@pytest.mark.parametrize("folder", [5000], indirect=True)
def test_requests_of_pictures_that_left_the_window_are_cancelled_and_memory_stays(
    folder: Path, tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    with served(folder, tmp_path / "cache") as gallery:
        page = open_page("about:blank")
        asked, given_up = set[str](), set[str]()
        page.on("requestfailed", lambda request: given_up.add(request.url))
        page.route("**/thumbnails/**", lambda route: asked.add(route.request.url))  # none is ever answered
        page.goto(gallery.url)
        page.wait_for_selector("[role=gridcell]")
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")

        def heap() -> float:
            devtools.send("HeapProfiler.collectGarbage")
            told = devtools.send("Performance.getMetrics")["metrics"]
            return float(next(one["value"] for one in told if one["name"] == "JSHeapUsedSize")) / 1e6

        before = heap()
        for place in range(500, 5000, 500):
            page.evaluate(f"app.moveTo(app.model.shown[{place}])")
            page.wait_for_timeout(50)
        wanted = set(page.evaluate("[...document.querySelectorAll('.cell img')].map((image) => image.src)"))
        deadline = time.monotonic() + 20
        while asked - given_up != wanted:
            assert time.monotonic() < deadline, f"{len(asked)} asked for, {len(given_up)} given up, {len(wanted)} shown"
            page.wait_for_timeout(50)
        assert len(given_up) > len(wanted)
        assert heap() < before + 150


@pytest.mark.parametrize(
    ("folder", "count"), [(1000, 1000), pytest.param(5000, 5000, marks=pytest.mark.slow)], indirect=["folder"]
)
def test_thousands_of_pictures_stay_fluid(
    folder: Path,
    count: int,
    tmp_path: Path,
    open_page: Callable[..., Page],
    record_property: Callable[[str, object], None],
) -> None:
    with served(folder, tmp_path / "cache") as gallery:
        page = open_page("about:blank")
        page.add_init_script(WATCH)
        page.goto(gallery.url)
        page.wait_for_selector("[role=gridcell]")
        shown_ms = page.evaluate("performance.now()")
        expected = page.evaluate(f"Math.ceil({count} / app.grid.columns) * (app.grid.size + 30) + 8")
        assert page.evaluate("app.model.shown.length") == count
        assert abs(page.evaluate("document.getElementById('scroller').scrollHeight") - expected) <= 238
        page.evaluate("window.longest = 0")
        told = page.evaluate(SCROLL)
        longest_ms = page.evaluate("window.longest")
        record_property("figures", json.dumps({"shown_ms": shown_ms, "longest_task_ms": longest_ms, **told}))
        assert told["cells"] <= MOST_CELLS
        assert len(told["heights"]) == 1
        assert shown_ms < stretched(2000 * SLACK)
        assert longest_ms < stretched(100 * SLACK)
        page.keyboard.press("Home")
        for _ in range(100):
            page.keyboard.press("x")
        assert page.evaluate("app.model.places.get(app.current)") == 100
        page.evaluate(f"app.moveTo(app.model.shown[{count - 200}])")
        active = page.locator("[role=grid]").get_attribute("aria-activedescendant")
        row = page.locator(f"#{active}").locator("..")
        columns = page.evaluate("app.grid.columns")
        assert row.get_attribute("aria-rowindex") == str((count - 200) // columns + 1)
