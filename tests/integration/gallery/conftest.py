from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import BrowserContext, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Dialog, Page

BROWSERS = (Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium"))
"""Debian's; the first draws no window of its own around a page, which halves the time of the tests."""
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@pytest.fixture(scope="module")  # Playwright keeps a loop running in this thread, which other files need for theirs
def browser() -> Iterator[Browser]:
    program = next((path for path in BROWSERS if path.exists()), None)
    if program is None:
        pytest.skip("neither of Debian's packages of Chromium is installed: the page can't be tested in a browser")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(program), args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages, each in a browser of its own; at the end none may have had an error or broken the CSP."""
    contexts, troubles = list[BrowserContext](), list[str]()

    def dismiss(dialog: Dialog) -> None:
        troubles.append(dialog.message)
        dialog.dismiss()

    def opened(url: str, **options: object) -> Page:
        context = browser.new_context(viewport={"width": 1200, "height": 800}, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda told: troubles.append(told.text) if "Content Security" in told.text else None)
        page.on("dialog", dismiss)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert troubles == []
