"""The page in a real Chromium, by keyboard, mouse and touch."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from playwright.sync_api import Route, expect

from tests.support.gallery import fill, finishing_endpoint, infotext, journal, png, served

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playwright.sync_api import FloatRect, Page

    OpenPage = Callable[..., Page]

CELL = "[role=gridcell]"
WAIT_S = 30


def current(page: Page) -> str:
    """Return the name of the picture under the cursor."""
    return str(page.evaluate("app.model.pictures.get(app.current)?.name ?? ''"))


def wait_until(page: Page, condition: str) -> None:
    """Wait for a condition in the page; Playwright's own way to do so evaluates text, which the CSP forbids."""
    deadline = time.monotonic() + WAIT_S
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        page.wait_for_timeout(30)


def wait_for(page: Page, seen: Callable[[], object]) -> None:
    """Wait for something that the browser's events tell."""
    deadline = time.monotonic() + WAIT_S
    while not seen():
        assert time.monotonic() < deadline
        page.wait_for_timeout(10)


def wait_saved(page: Page) -> None:
    wait_until(page, "app.model.unsent.length === 0 && !app.sync.isSending")


def wait_facts(page: Page) -> None:
    wait_until(page, "[...app.model.pictures.values()].every((picture) => picture.facts)")


def loaded(page: Page) -> None:
    page.wait_for_selector(CELL)


def test_marks_advance_to_the_next_picture_and_stay_at_the_last(tmp_path: Path, open_page: OpenPage) -> None:
    names = fill(tmp_path / "pics", 4)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        for key, name in (("p", names[1]), ("x", names[2]), ("4", names[3]), ("x", names[3])):
            page.keyboard.press(key)
            assert current(page) == name
        wait_saved(page)
        expect(page.locator("#message")).to_contain_text("last one")
        expect(page.locator("#count")).to_contain_text("1 of 4 kept, 2 rejected")
        expect(page.locator(CELL).nth(1)).to_have_attribute("aria-label", f"{names[1]}, rejected")
    told = [(line["name"], line["set"]) for line in journal(tmp_path / "pics")]
    assert told == [
        (names[0], {"flag": "pick", "reviewed": True}),
        (names[1], {"flag": "reject", "reviewed": True}),
        (names[2], {"stars": 4, "reviewed": True}),
        (names[3], {"flag": "reject", "reviewed": True}),
    ]


def test_the_same_mark_again_takes_it_off_and_the_opposite_goes_by_none(tmp_path: Path, open_page: OpenPage) -> None:
    names = fill(tmp_path / "pics", 2)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        page.keyboard.press("Shift+P")
        assert current(page) == names[0]
        for key, flag in (("x", "none"), ("Shift+X", "reject"), ("x", "none")):
            page.keyboard.press(key)
            assert page.evaluate("app.model.pictures.get(app.current).decision.flag") == flag
            assert current(page) == names[0]


@pytest.mark.parametrize(
    ("is_held", "pause_s", "count"),
    [(True, 0, 50), *(pytest.param(held, 0.05, 100, marks=pytest.mark.slow) for held in (True, False))],
)
def test_marks_one_after_the_other_mark_each_picture_once(
    tmp_path: Path, open_page: OpenPage, pause_s: float, count: int, *, is_held: bool
) -> None:
    names = fill(tmp_path / "pics", count + 2)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        for _ in range(count):
            page.keyboard.down("x")  # repeats, as long as it is not released
            if not is_held:
                page.keyboard.up("x")
            time.sleep(pause_s)  # twenty keys in a second, as people are fast
        page.keyboard.up("x")
        assert current(page) == names[count]
        wait_saved(page)
    told = [line["name"] for line in journal(tmp_path / "pics")]
    assert told == names[:count]


@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_hundreds_of_pictures_are_culled_by_keyboard_a_second_browser_sees_it_and_finals_come(
    tmp_path: Path, open_page: OpenPage, count: int
) -> None:
    names = fill(tmp_path / "pics", count, candidates=True)
    with (
        finishing_endpoint() as (endpoint, running),
        served(tmp_path / "pics", tmp_path / "cache", endpoint=running.url) as gallery,
    ):
        page = open_page(gallery.url)
        loaded(page)
        wait_until(page, f"app.model.pictures.size === {count}")
        for number in range(count):
            page.keyboard.press("p" if number % (count // 5) == 0 else "x")
        wait_saved(page)
        other = open_page(gallery.url)
        expect(other.locator("#count")).to_contain_text(f"5 of {count} kept, {count - 5} rejected")
        assert len(journal(tmp_path / "pics")) == count
        page.keyboard.press("u")
        expect(page.locator("#jobs-text")).to_contain_text("5 of 5 jobs done: 5 made", timeout=30_000)
        finals = sorted(path.name for path in (tmp_path / "pics" / "final").glob("*.png"))
        assert finals == names[:: count // 5]
        assert all("until" not in job for job in endpoint.jobs)
        page.keyboard.press("u")
        expect(page.locator("#message")).to_contain_text("5 have a final")
        assert len(endpoint.jobs) == 5
        expect(other.locator("#count")).to_contain_text(f"of {count + 5}")


def test_undo_takes_back_a_mark_on_a_selection_at_once_and_survives_a_reload(
    tmp_path: Path, open_page: OpenPage
) -> None:
    fill(tmp_path / "pics", 30)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        page.keyboard.press("p")
        for _ in range(11):
            page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("x")
        counts = "JSON.stringify(app.model.counts())"
        assert page.evaluate(counts) == '{"pick":1,"reject":12,"none":17,"all":30}'
        page.keyboard.press("Control+z")
        assert page.evaluate(counts) == '{"pick":1,"reject":0,"none":29,"all":30}'
        page.keyboard.press("Control+Shift+z")
        page.keyboard.press("Control+z")
        page.keyboard.press("Control+z")
        page.keyboard.press("Control+y")
        wait_saved(page)
        page.reload()
        loaded(page)
        wait_until(page, "app.model.pictures.size === 30")
        assert page.evaluate(counts) == '{"pick":1,"reject":0,"none":29,"all":30}'


def test_on_return_the_undecided_ones_are_shown_and_the_next_shown_one_follows(
    tmp_path: Path, open_page: OpenPage
) -> None:
    names = fill(tmp_path / "pics", 6)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        gallery.mark(names[0], flag="pick")
        gallery.mark(names[2], flag="reject")
        page = open_page(gallery.url)
        loaded(page)
        assert page.evaluate("app.model.shown.length") == 4
        assert current(page) == names[1]
        page.keyboard.press("x")
        assert current(page) == names[3]
        expect(page.locator(f"#cell-{gallery.ids()[names[1]]}")).to_be_visible()


def test_filters_sort_and_groups_use_the_facts(tmp_path: Path, open_page: OpenPage) -> None:
    names = fill(tmp_path / "pics", 8, candidates=True)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        wait_facts(page)
        page.keyboard.press("f")
        page.keyboard.type("lighthouse px1")
        assert page.evaluate("app.model.shown.length") == 0
        assert page.evaluate("app.model.counts().none") == 8  # letters in the field mark nothing
        page.fill("#f-words", "lighthouse")
        page.select_option("#f-checkpoint", "model-1")
        assert page.evaluate("app.model.shown.length") == 4
        page.select_option("#f-score", "face.similarity")
        page.fill("#f-least", "0.5")
        assert page.evaluate("app.model.shown.length") == 2
        page.click("#f-clear")
        page.select_option("#f-sort", "score:face.similarity")
        assert page.evaluate("app.model.pictures.get(app.model.shown[0]).name") == names[7]
        page.select_option("#f-group", "checkpoint")
        expect(page.locator(".row.heading").first).to_have_text("checkpoint model-1 (4)")


def test_pictures_that_look_alike_are_grouped(tmp_path: Path, open_page: OpenPage) -> None:
    folder = tmp_path / "pics"
    fill(folder, 5)
    (folder / "twin.png").write_bytes(png(3, "a twin"))
    with served(folder, tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        page.keyboard.press("f")
        page.select_option("#f-group", "duplicates")
        expect(page.locator(".row.heading")).to_have_text(["similar (2)"], timeout=20_000)
        names = page.evaluate("app.model.shown.map((id) => app.model.pictures.get(id).name)")
        assert names == ["0003-1003.png", "twin.png"]


@pytest.mark.parametrize("steps", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_the_next_picture_is_decoded_before_it_replaces_the_one_before(
    tmp_path: Path, open_page: OpenPage, steps: int
) -> None:
    names = fill(tmp_path / "pics", steps + 2)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        asked = set[str]()
        page.on("request", lambda request: asked.add(request.url))

        def is_asked(picture: str) -> bool:
            return any(f"/pictures/{picture}?" in url for url in asked)

        loaded(page)
        page.keyboard.press("Space")
        page.wait_for_selector("#panes img")
        page.evaluate(
            """() => { window.blank = 0; new MutationObserver(() => {
                const image = document.querySelector('#panes img');
                if (!image || !image.complete || !image.naturalWidth) window.blank += 1;
            }).observe(document.getElementById('panes'), {childList: true, subtree: true}); }"""
        )
        for number in range(1, steps + 1):
            following = page.evaluate(f"app.model.shown[{number}]")
            wait_for(page, partial(is_asked, following))
            page.keyboard.press("ArrowRight")
            wait_until(page, f"app.viewer.panes[0].image.src.includes('{following}')")
        assert page.evaluate("window.blank") == 0
        assert current(page) == names[steps]
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        assert current(page) == names[-1], "at the end it stays"


def test_the_old_picture_stays_until_the_next_one_has_come(tmp_path: Path, open_page: OpenPage) -> None:
    names = fill(tmp_path / "pics", 3)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        first, second = page.evaluate("app.model.shown.slice(0, 2)")
        held = list[Route]()

        def hold(route: Route) -> None:
            held.append(route)

        page.route(f"**/gallery/pictures/{second}*", hold)
        page.keyboard.press("Space")
        page.wait_for_selector("#panes img")
        wait_for(page, lambda: held)
        page.keyboard.press("ArrowRight")
        assert current(page) == names[1]
        page.wait_for_timeout(100)
        assert first in page.evaluate("app.viewer.panes[0].image.src")
        for route in held:
            route.continue_()
        wait_until(page, f"app.viewer.panes[0].image.src.includes('{second}')")


def test_zoom_shows_the_corner_under_the_pointer_and_compare_moves_all_panes(
    tmp_path: Path, open_page: OpenPage
) -> None:
    folder = tmp_path / "pics"
    folder.mkdir()
    for number in range(2):
        (folder / f"{number}.png").write_bytes(png(number, infotext(number), 3000, 2000))
    with served(folder, tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        page.keyboard.press("Space")
        page.wait_for_selector("#panes img")
        box = page.locator("#panes").bounding_box()
        assert box is not None
        before = page.locator("#panes img").bounding_box()
        assert before is not None
        page.mouse.move(before["x"] + before["width"] - 1, before["y"] + before["height"] - 1)
        page.keyboard.press("z")
        corner = page.locator("#panes img").bounding_box()
        assert corner is not None
        assert corner["width"] == pytest.approx(3000, abs=1)
        assert corner["x"] + corner["width"] == pytest.approx(box["x"] + box["width"], abs=3)
        page.keyboard.press("Escape")
        page.keyboard.press("c")
        wait_until(page, "app.viewer.panes.every((pane) => pane.image) && app.viewer.panes.length === 2")
        page.keyboard.press("z")
        page.mouse.move(300, 300)
        page.mouse.down()
        page.mouse.move(200, 250, steps=4)
        page.mouse.up()
        transforms = page.evaluate("app.viewer.panes.map((pane) => pane.image.style.transform)")
        assert transforms[0] == transforms[1]
        assert "scale(1)" in transforms[0]
        expect(page.locator("#details")).to_contain_text("only what differs")
        expect(page.locator("#details tr", has_text="Seed").locator("td")).to_have_text(["1000", "1001"])


def test_hostile_names_and_prompts_are_text(tmp_path: Path, open_page: OpenPage) -> None:
    folder = tmp_path / "pics"
    folder.mkdir()
    evil = '<img src=x onerror="alert(1)">'
    name = f"{evil}<script>alert(2)<\u202escript>.png"
    long = "x" * 20_000
    (folder / name).write_bytes(
        png(1, f"{evil}</script><script>alert(3)</script>\u202e {long}\nSteps: 1, Seed: 1, Model: {evil}")
    )
    with served(folder, tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        wait_facts(page)
        page.keyboard.press("i")
        expect(page.locator("#details")).to_contain_text("onerror")
        page.keyboard.press("f")
        page.keyboard.press("Escape")
        page.keyboard.press("Space")
        page.wait_for_selector("#panes img")
        expect(page.locator("#panes .caption")).to_contain_text("onerror")
        assert page.evaluate("document.querySelectorAll('main script, #details img').length") == 0


def test_pictures_that_cant_be_shown_are_placeholders_and_the_rest_goes_on(tmp_path: Path, open_page: OpenPage) -> None:
    folder = tmp_path / "pics"
    names = fill(folder, 3)
    (folder / names[0]).write_bytes(png(1)[:300])
    (folder / "empty.png").write_bytes(b"")
    Image.new("RGB", (8000, 6000), "teal").save(folder / "wide.png", compress_level=1)
    with served(folder, tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        expect(page.locator(".cell.broken")).to_have_count(2)
        page.keyboard.press("End")
        page.keyboard.press("Space")
        wait_until(page, "app.viewer.panes[0].image?.naturalWidth === 8000")
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".placeholder")).to_have_text("empty.png can\u2019t be shown")
        page.keyboard.press("Home")
        page.keyboard.press("x")
        page.wait_for_selector("#panes img")
        (folder / names[2]).unlink()
        wait_until(page, "app.model.pictures.size === 4")
        assert current(page) == names[1]


def test_a_phone_swipes_once_each_and_the_page_scrolls(tmp_path: Path, open_page: OpenPage) -> None:
    names = fill(tmp_path / "pics", 30)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        page = open_page(gallery.url, has_touch=True, is_mobile=True)
        page.set_viewport_size({"width": 390, "height": 800})
        loaded(page)
        page.locator(CELL).first.tap()
        page.wait_for_selector("#panes img")
        touch = page.context.new_cdp_session(page)

        def swipe(*points: tuple[int, int]) -> None:
            for index, (x, y) in enumerate(points):
                kind = "touchStart" if index == 0 else "touchMove"
                touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
            touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

        for points, name in (
            (((300, 300), (200, 302), (100, 305)), names[1]),
            (((200, 400), (201, 300), (203, 200)), names[2]),
            (((200, 200), (201, 300), (203, 400)), names[3]),
            (((100, 300), (200, 302), (300, 305)), names[2]),
        ):
            swipe(*points)
            wait_until(page, f"app.model.pictures.get(app.current).name === '{name}'")
        wait_saved(page)
        flags = {line["name"]: line["set"].get("flag") for line in journal(tmp_path / "pics") if "flag" in line["set"]}
        assert flags == {names[1]: "pick", names[2]: "reject"}
        page.get_by_role("button", name="Back to the grid").tap()
        assert page.evaluate("getComputedStyle(document.getElementById('scroller')).touchAction") == "auto"


def test_two_fingers_zoom_where_they_are_and_mark_nothing(tmp_path: Path, open_page: OpenPage) -> None:
    names = ["0.png", "1.png"]
    (tmp_path / "pics").mkdir()
    for number, name in enumerate(names):
        (tmp_path / "pics" / name).write_bytes(png(number, infotext(number), 1200, 900))
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        page = open_page(gallery.url, has_touch=True, is_mobile=True)
        page.set_viewport_size({"width": 390, "height": 800})
        loaded(page)
        page.locator(CELL).first.tap()
        page.wait_for_selector("#panes img")
        wait_until(page, "document.querySelector('#panes img').naturalWidth > 0")
        touch = page.context.new_cdp_session(page)

        def box() -> FloatRect:
            found = page.locator("#panes img").bounding_box()
            assert found is not None
            return found

        def pinch(*halves: int) -> None:
            """Hold two fingers so far above and below one place, one after the other."""
            for index, half in enumerate(halves):
                kind = "touchStart" if index == 0 else "touchMove"
                points = [{"x": x, "y": y + sign * half, "id": number} for number, sign in enumerate((-1, 1))]
                touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

        fit = box()
        x, y = int(fit["x"] + fit["width"] / 2), int(fit["y"] + fit["height"] / 2)
        pinch(20, 30, 45, 60)
        near = box()
        assert near["width"] == pytest.approx(3 * fit["width"], rel=0.05)
        assert (near["y"] + near["height"] / 2) == pytest.approx(y, abs=8), "what is between the fingers stays there"
        assert page.evaluate("visualViewport.scale") == 1, "the page itself does not zoom"
        pinch(60, 40, 15)
        assert box() == fit
        assert current(page) == names[0]
        wait_saved(page)
        assert all("flag" not in line["set"] for line in journal(tmp_path / "pics"))


def test_every_function_is_in_the_help_and_single_letters_can_be_switched_off(
    tmp_path: Path, open_page: OpenPage
) -> None:
    fill(tmp_path / "pics", 3)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_contain_text("finish the kept pictures")
        page.get_by_label("Single-letter shortcuts").uncheck()
        page.keyboard.press("Escape")
        expect(page.locator("#help")).not_to_be_visible()
        page.keyboard.press("x")
        assert page.evaluate("app.model.counts().reject") == 0
        page.keyboard.press("Delete")
        assert page.evaluate("app.model.counts().reject") == 1


def test_screen_readers_get_roles_positions_and_words(tmp_path: Path, open_page: OpenPage) -> None:
    names = fill(tmp_path / "pics", 200)
    with served(tmp_path / "pics", tmp_path / "cache") as gallery:
        page = open_page(gallery.url)
        loaded(page)
        wait_until(page, "app.model.pictures.size === 200")
        page.keyboard.press("End")
        grid = page.locator("[role=grid]")
        active = page.locator(f"#{grid.get_attribute('aria-activedescendant')}")
        expect(active).to_have_attribute("aria-label", f"{names[-1]}, undecided")
        rows = int(grid.get_attribute("aria-rowcount") or 0)
        assert active.locator("..").get_attribute("aria-rowindex") == str(rows)
        page.keyboard.press("Shift+X")
        expect(page.locator("#live")).to_have_text("rejected, 200 of 200")


def test_the_same_again_takes_the_next_free_seeds(tmp_path: Path, open_page: OpenPage) -> None:
    fill(tmp_path / "pics", 3, candidates=True)
    with (
        finishing_endpoint() as (endpoint, running),
        served(tmp_path / "pics", tmp_path / "cache", endpoint=running.url) as gallery,
    ):
        page = open_page(gallery.url)
        loaded(page)
        page.keyboard.press("r")
        page.fill("#again-count", "2")
        page.keyboard.press("Enter")
        expect(page.locator("#jobs-text")).to_contain_text("2 of 2 jobs done: 2 made", timeout=20_000)
        assert sorted(job["seed"] for job in endpoint.jobs) == [1001, 1003]  # 1002 is there, 1001 of another model only
        wait_until(page, "app.model.pictures.size === 5")
        assert (tmp_path / "pics" / "0000-1003.png").exists()
        assert "0000-1001.png" in gallery.ids()


def test_jobs_show_their_progress_and_can_be_cancelled(tmp_path: Path, open_page: OpenPage) -> None:
    names = fill(tmp_path / "pics", 2, candidates=True)
    with (
        finishing_endpoint() as (endpoint, running),
        served(tmp_path / "pics", tmp_path / "cache", endpoint=running.url) as gallery,
    ):
        endpoint.held.set()
        gallery.mark(names[0], flag="pick")
        page = open_page(gallery.url)
        loaded(page)
        page.keyboard.press("u")
        wait_until(page, "document.getElementById('jobs-progress').value === 0.5")
        page.click("#jobs-cancel")
        expect(page.locator("#jobs-text")).to_contain_text("1 cancelled", timeout=20_000)
        assert endpoint.cancelled == {"job-0"}


def test_rejected_pictures_go_into_the_trash_after_one_confirmation_and_come_back(
    tmp_path: Path, open_page: OpenPage
) -> None:
    names = fill(tmp_path / "pics", 3, candidates=True)
    with served(tmp_path / "pics", tmp_path / "cache", may_delete=True) as gallery:
        page = open_page(gallery.url)
        loaded(page)
        page.keyboard.press("x")
        wait_saved(page)
        page.keyboard.press("v")
        page.click("#review-trash")
        assert (tmp_path / "pics" / names[0]).exists()
        page.click("#review-confirm")
        wait_until(page, "app.model.pictures.size === 2")
        assert (tmp_path / "pics" / ".trash" / names[0]).exists()
        assert (tmp_path / "pics" / ".trash" / names[0]).with_suffix(".json").exists()
        page.click("#review-restore")
        wait_until(page, "app.model.pictures.size === 3")
        assert (tmp_path / "pics" / names[0]).exists()


def test_a_key_is_asked_for_and_then_pictures_load(tmp_path: Path, open_page: OpenPage) -> None:
    fill(tmp_path / "pics", 2)
    with served(tmp_path / "pics", tmp_path / "cache", key="sesame") as gallery:
        page = open_page(gallery.url)
        page.fill("#login-key", "wrong")
        page.keyboard.press("Enter")
        expect(page.locator("#login-error")).to_have_text("Wrong key.")
        page.fill("#login-key", "sesame")
        page.keyboard.press("Enter")
        loaded(page)
        wait_until(page, "document.querySelector('.cell img').naturalWidth > 0")
        other = open_page(f"{gallery.url}#key=sesame")
        loaded(other)
        assert "sesame" not in other.url
