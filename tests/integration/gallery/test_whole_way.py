"""The whole way by one person's commands: forty candidates, a round of culling, five finals, nothing made twice.

WALKTHROUGH=docs/images renews the pictures of the docs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from PIL import Image
from playwright.sync_api import expect

from tests.integration.gallery.test_page import CELL, loaded, wait_facts, wait_saved, wait_until
from tests.support.gallery import served
from tests.support.ports import free_port
from tests.support.webui_dir import environment
from tests.support.workerproc import ROOT, WorkerProcess
from worker.client import Batch, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Page

PLAN = """\
type: workflow
prompt: "a {fishing village|lighthouse|harbour}, {dawn|noon|dusk}"
wildcards: true
negative_prompt: blurry
seed: 100
steps: 8
pool: {from: [gulls, fog, a red boat, snow, old stone], count: [0, 2]}
stages:
  - {name: base, type: txt2img, width: 384, height: 256}
  - {name: final, type: upscale, scale: 2, upscaler: Lanczos, tiles: {size: 512, overlap: 64, denoising_strength: 0.3}}
"""
KEPT = (3, 11, 17, 26, 38)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A worker behind plain HTTP, with a WebUI of its own."""
    folder, port = tmp_path_factory.mktemp("worker"), free_port()
    more = {"HTTP_PORT": str(port), "STANDIN_STEP_SECONDS": "0.03"}
    with WorkerProcess(["-m", "worker", "serve"], environment(folder, more), folder) as process:
        process.wait_line(r"ready  |\"event\":\"ready\"")
        yield f"http://127.0.0.1:{port}"


def command(cwd: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(cwd)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def facts(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


@pytest.mark.slow
@pytest.mark.timeout(400)  # a minute on a quiet machine; five commands and a browser beside other tests
def test_of_forty_candidates_five_are_kept_by_keyboard_and_finished(
    worker: str, tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    target = Path(os.environ.get("WALKTHROUGH", tmp_path))
    (tmp_path / "plan.yaml").write_text(PLAN, encoding="utf-8")
    batch = ("batch", "plan.yaml", "--endpoint", worker, "--until", "base", "--count", "40", "--out", "coast")
    assert "pictures made: 40" in command(tmp_path, *batch)
    assert "pictures made: 0, jobs already done: 40" in command(tmp_path, *batch)
    made = facts(tmp_path / "coast" / "metadata")
    assert sorted(document["seed"] for document in made) == list(range(100, 140))
    assert len({document["prompt"] for document in made}) > 10

    arguments = ["-m", "worker", "gallery", "coast", "--endpoint", worker, "--port", "0"]
    with WorkerProcess(arguments, {"XDG_CACHE_HOME": str(tmp_path / "cache")}, tmp_path) as gallery:
        gallery.wait_line(r"/gallery/")
        address = re.search(r"http://\S+/gallery/", gallery.log)
        assert address is not None
        page = open_page(address[0])

        def shoot(name: str) -> None:
            page.wait_for_load_state("networkidle")
            page.evaluate("app.tell('')")
            page.evaluate("document.getElementById('title').textContent = 'coast'")
            page.screenshot(path=target / f"walkthrough-{name}.jpg", type="jpeg", quality=80)

        loaded(page)
        wait_until(page, "app.model.pictures.size === 40")
        wait_facts(page)
        for number in range(40):
            page.keyboard.press("p" if number in KEPT else "x")
            if number == 20:
                shoot("culling")
        wait_saved(page)
        expect(page.locator("#count")).to_contain_text("5 of 40 kept, 35 rejected")
        page.keyboard.press("u")
        expect(page.locator("#jobs-text")).to_contain_text("5 of 5 jobs done: 5 made", timeout=120_000)
        wait_until(page, "app.model.pictures.size === 45")
        page.keyboard.press("f")
        page.click("#f-clear")
        page.select_option("#f-stage", "final")
        expect(page.locator(CELL)).to_have_count(5)
        wait_until(page, "[...document.querySelectorAll('.cell img')].every((image) => image.naturalWidth > 0)")
        page.keyboard.press("Escape")
        shoot("finals")
        page.keyboard.press("u")
        expect(page.locator("#message")).to_contain_text("have a final")

    finals = sorted((tmp_path / "coast").rglob("final/*.png"))
    assert len(finals) == 5
    for path in finals:
        with Image.open(path) as picture:
            assert picture.size == (768, 512)
    again = command(tmp_path, "batch", "--continue", "coast", "--report", "report.html")
    assert "pictures made: 0" in again
    page = open_page(f"file://{tmp_path / 'report.html'}")
    page.screenshot(path=target / "walkthrough-report.jpg", type="jpeg", quality=80)
    expect(page.locator("body")).to_contain_text("Finals: 5")


def test_pages_finish_the_kept_ones_and_make_the_next_seeds_on_a_real_worker(
    worker: str, tmp_path: Path, open_page: Callable[..., Page]
) -> None:
    plan = {**yaml.safe_load(PLAN), "n_iter": 3, "until": "base", "steps": 40}  # long enough for progress to be seen
    folder = tmp_path / "coast"
    state = Batch(folder, [Endpoint(worker)]).run(plan)
    with served(folder, tmp_path / "cache", endpoint=worker) as gallery:
        gallery.mark(next(name for name in state.pictures if "_s101_" in name), flag="pick")
        page = open_page(gallery.url)
        loaded(page)
        wait_facts(page)
        shares = page.evaluate_handle(
            "() => { const seen = [], bar = document.getElementById('jobs-progress');"
            " new MutationObserver(() => seen.push(bar.value)).observe(bar, { attributes: true }); return seen; }"
        )
        page.keyboard.press("u")
        expect(page.locator("#jobs-text")).to_have_text("1 of 1 job done: 1 made", timeout=60_000)
        wait_until(page, "app.model.pictures.size === 4")
        assert any(0 < share < 1 for share in shares.json_value())
        page.keyboard.press("u")
        expect(page.locator("#message")).to_have_text("Nothing to finish; 1 has a final already")

        page.keyboard.press("r")
        page.fill("#again-count", "1")
        page.keyboard.press("Enter")
        wait_until(page, "app.model.pictures.size === 5")
    (final,) = facts(folder / "final")
    assert (final["seed"], final["checkpoint"]) == (101, "Deliberate_v6")
    assert final["prompt"] == next(one["prompt"] for one in facts(folder / "metadata") if one["seed"] == 101)
    (more,) = facts(folder / "stage1")
    assert more["seed"] == 103  # the next that no picture of this job has, whatever its words are
    assert len(list((folder / "final").glob("*.png"))) == 1
