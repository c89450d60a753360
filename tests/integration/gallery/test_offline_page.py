"""The page that needs no server, opened from the disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.support.gallery import fill, served
from worker.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from playwright.sync_api import Page


def test_looking_marking_and_saving_work_from_the_disk(
    tmp_path: Path, open_page: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "my pics"
    names = fill(folder, 5)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["gallery", str(folder), "--page"]) == 0
    page = open_page("about:blank", accept_downloads=True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((folder / "gallery.html").as_uri())
    page.wait_for_selector("[role=gridcell]")
    page.keyboard.press("p")
    page.keyboard.press("x")
    page.keyboard.press("Space")
    page.wait_for_selector("#panes img")
    expect(page.locator("#count")).to_contain_text("1 of 5 kept, 1 rejected")
    page.reload()
    page.wait_for_selector("[role=gridcell]")
    expect(page.locator("#count")).to_contain_text("1 of 5 kept, 1 rejected")
    page.keyboard.press("v")
    with page.expect_download() as download:
        page.click("#save-journal")
    download.value.save_as(folder / "curation.jsonl")
    assert [json.loads(line)["name"] for line in (folder / "curation.jsonl").read_text().splitlines()][:2] == names[:2]
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}
    with served(folder, tmp_path / "cache") as gallery:
        told = {one["name"]: one.get("decision", {}).get("flag") for one in gallery.pictures()}
    assert told == {names[0]: "pick", names[1]: "reject", names[2]: None, names[3]: None, names[4]: None}
