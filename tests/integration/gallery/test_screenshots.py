"""A round of culling on pictures worth looking at; GALLERY_SCREENSHOTS=docs/images renews those of the docs."""

from __future__ import annotations

import json
import math
import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from tests.support.gallery import finishing_endpoint, served

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

WIDTH, HEIGHT = 384, 512
LOOKS = ("dusk", "noon", "night", "mist")
SKIES = {
    "dusk": ((44, 24, 92), (252, 150, 92)),
    "noon": ((64, 140, 226), (206, 232, 250)),
    "night": ((6, 10, 34), (44, 62, 112)),
    "mist": ((150, 160, 170), (226, 228, 226)),
}


def landscape(number: int) -> bytes:
    """Return a picture of hills under a sky, different for each number."""
    top, bottom = SKIES[LOOKS[number % 4]]
    sky = Image.linear_gradient("L").resize((WIDTH, HEIGHT))
    image = Image.composite(Image.new("RGB", sky.size, bottom), Image.new("RGB", sky.size, top), sky)
    draw = ImageDraw.Draw(image)
    x, y, size = 60 + number * 83 % 260, 70 + number * 47 % 140, 26 + number * 7 % 22
    draw.ellipse((x - size, y - size, x + size, y + size), fill=(255, 240, 200))
    for layer in range(4):
        shade = tuple(int(value * (0.75 - 0.18 * layer)) for value in bottom)
        base = 290 + 55 * layer
        hills = [
            (at, base + 34 * math.sin(at / (46 + 9 * layer) + number * (layer + 1.7)) + 14 * math.sin(at / 17 + number))
            for at in range(0, WIDTH + 1, 4)
        ]
        draw.polygon([*hills, (WIDTH, HEIGHT), (0, HEIGHT)], fill=shade)
    out = BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def fill(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        seed = 20260 + number
        name = f"{number + 1:03}-{seed}"
        (folder / f"{name}.png").write_bytes(landscape(number))
        told = {
            "prompt": f"hills under a wide sky, {LOOKS[number % 4]}, oil on canvas",
            "negative_prompt": "people, text",
            "seed": seed,
            "checkpoint": ("deliberate_v6", "dreamshaper_8")[number % 3 == 0],
            "loras": ["oil_paint"],
            "stage": "base",
            "steps": 20 + number % 2 * 10,
            "sampler_name": "DPM++ 2M",
            "checks": {"quality": {"score": round(0.4 + number * 37 % 60 / 100, 2)}},
            "job": {"type": "workflow", "workflow": "text2img_upscale", "until": "base", "seed": seed},
        }
        (folder / f"{name}.json").write_text(json.dumps(told))


@pytest.mark.slow
def test_a_round_of_culling_is_shown_in_pictures(tmp_path: Path, open_page: Callable[..., Page]) -> None:
    target = Path(os.environ.get("GALLERY_SCREENSHOTS", tmp_path))
    fill(tmp_path / "hills", 40)
    with (
        finishing_endpoint() as (endpoint, running),
        served(tmp_path / "hills", tmp_path / "cache", endpoint=running.url) as gallery,
    ):
        page = open_page(gallery.url)

        def shoot(name: str) -> None:
            page.wait_for_load_state("networkidle")
            page.evaluate("app.tell('')")
            page.evaluate("document.getElementById('title').textContent = 'hills'")
            page.screenshot(path=target / f"gallery-{name}.jpg", type="jpeg", quality=80)

        page.wait_for_selector("[role=gridcell]")
        for key in "pxx4pxxpx":
            page.keyboard.press(key)
        page.wait_for_load_state("networkidle")
        shoot("grid")
        page.keyboard.press("Space")
        page.keyboard.press("i")
        page.wait_for_selector("#panes img")
        expect(page.locator("#details")).to_contain_text("oil on canvas")
        shoot("picture")
        page.keyboard.press("c")
        expect(page.locator("#panes img")).to_have_count(2)
        shoot("compare")
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        page.emulate_media(color_scheme="dark")
        endpoint.held.set()
        page.keyboard.press("u")
        expect(page.locator("#jobs-progress")).to_have_js_property("value", 0.5, timeout=20_000)
        shoot("finishing")
        endpoint.held.clear()
        expect(page.locator("#jobs-text")).to_contain_text("3 made", timeout=20_000)
    assert all(path.stat().st_size > 10_000 for path in target.glob("gallery-*.jpg"))
