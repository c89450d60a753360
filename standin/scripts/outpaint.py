"""Built-in scripts that make a picture larger on its sides: outpainting mk2 and poor man's outpainting."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from .. import processing
from ..img2img import flatten
from ..job import result
from .tiles import tiling

if TYPE_CHECKING:
    from ..job import Processed, Processing
    from ..webui import WebUI

STEP = 64
"""The new size is rounded up to multiples of this."""


@dataclass(frozen=True, slots=True)
class Sides:
    """How many pixels are added on each side."""

    left: int
    right: int
    up: int
    down: int


def sides(size: tuple[int, int], pixels: int, direction: Any) -> tuple[Sides, tuple[int, int]]:
    """What is added on the named sides so that the new size, given too, is a multiple of 64."""
    left, right, up, down = (pixels if name in direction else 0 for name in ("left", "right", "up", "down"))
    width = math.ceil((size[0] + left + right) / STEP) * STEP
    height = math.ceil((size[1] + up + down) / STEP) * STEP
    if left:
        left = left * (width - size[0]) // (left + right)
    if right:
        right = width - size[0] - left
    if up:
        up = up * (height - size[1]) // (up + down)
    if down:
        down = height - size[1] - up
    return Sides(left, right, up, down), (width, height)


def mk2(webui: WebUI, p: Processing, arguments: list[Any]) -> Processed:
    """Adds one side after the other; without a known direction the picture comes back as it was."""
    _, pixels, blur, direction, _, _ = arguments
    p.set("inpaint_full_res", value=False)
    p.set("inpainting_fill", 1)
    p.do_not_save_grid = p.do_not_save_samples = True
    start = flatten(p.init_images[0], webui.options.get("img2img_background_color"))
    added, _ = sides(start.size, pixels, direction)
    p.set("mask_blur", None)
    p.set("mask_blur_x", blur * 4 if added.left or added.right else 0)
    p.set("mask_blur_y", blur * 4 if added.up or added.down else 0)
    request_size = (p.width, p.height)
    batch_size, count = p.batch_size, p.n_iter
    p.n_iter = 1
    webui.state.job_count = count * sum(1 for side in (added.left, added.right, added.up, added.down) if side)
    images: list[Image.Image] = []
    seed = info = None
    for _ in range(count):
        made = [start] * batch_size
        for side in ("left", "right", "up", "down"):
            extra = getattr(added, side)
            if extra:
                made, done = _expand(webui, p, made, side, extra, request_size)
                seed, info = (done.seed, done.infotexts[0]) if seed is None else (seed, info)
        images += made
    single = len(images) == 1 and webui.options.get("grid_only_if_multiple")
    if webui.options.get("return_grid") and not single:
        images = [processing.make_grid(images), *images]
    skip = webui.options.get("CLIP_stop_at_last_layers")
    return result(p, images, seed=seed, info=info, timestamp=webui.state.job_timestamp, clip_skip=skip)


def _expand(
    webui: WebUI, p: Processing, made: list[Image.Image], side: str, extra: int, request_size: tuple[int, int]
) -> tuple[list[Image.Image], Processed]:
    horizontal = side in ("left", "right")
    wide = made[0].width + (extra if horizontal else 0)
    high = made[0].height + (0 if horizontal else extra)
    corner = (extra if side == "left" else 0, extra if side == "up" else 0)
    p.width = min(request_size[0], wide) if horizontal else math.ceil(wide / STEP) * STEP
    p.height = math.ceil(high / STEP) * STEP if horizontal else min(request_size[1], high)
    place = (
        0 if side == "left" or not horizontal else wide - p.width,
        0 if side == "up" or horizontal else high - p.height,
    )
    box = (*place, place[0] + p.width, place[1] + p.height)
    canvases, mask = [], Image.new("L", (wide, high), 255)
    ImageDraw.Draw(mask).rectangle((*corner, corner[0] + made[0].width - 1, corner[1] + made[0].height - 1), fill=0)
    for image in made:
        canvas = image.resize((wide, high), Image.Resampling.BILINEAR)
        canvas.paste(image, corner)
        canvases.append(canvas)
    p.mask = mask.crop(box)
    p.init_images = [canvas.crop(box) for canvas in canvases]
    done = processing.run(webui, p)
    for canvas, new in zip(canvases, done.images, strict=False):
        canvas.paste(new, place)
        canvas.info = {}
    return canvases, done


def poor_man(webui: WebUI, p: Processing, arguments: list[Any]) -> Processed:
    """Adds all sides at once and draws the tiles that touch them."""
    pixels, blur, fill, direction = arguments
    p.set("mask_blur", blur * 2)
    p.set("inpainting_fill", fill)
    p.set("inpaint_full_res", value=False)
    start = flatten(p.init_images[0], webui.options.get("img2img_background_color"))
    added, size = sides(start.size, pixels, direction)
    canvas, mask = Image.new("RGB", size), Image.new("L", size, 255)
    canvas.paste(start, (added.left, added.up))
    inner = (added.left, added.up, size[0] - added.right, size[1] - added.down)
    ImageDraw.Draw(mask).rectangle(inner, fill=0)
    grid = tiling(size, (p.width, p.height), pixels)
    tiles, masks = grid.cut(canvas), grid.cut(mask)
    p.n_iter = p.batch_size = 1
    p.do_not_save_grid = p.do_not_save_samples = True
    seed = info = None
    for place, (x, y) in enumerate(grid.corners):
        if x >= inner[0] and y >= inner[1] and x + grid.tile[0] <= inner[2] and y + grid.tile[1] <= inner[3]:
            continue
        p.init_images, p.mask = [tiles[place]], masks[place]
        done = processing.run(webui, p)
        seed, info = (done.seed, done.infotexts[0]) if seed is None else (seed, info)
        p.seed = done.seed + 1
        tiles[place] = done.images[0]
    skip = webui.options.get("CLIP_stop_at_last_layers")
    return result(p, [grid.join(tiles)], seed=seed, info=info, timestamp=webui.state.job_timestamp, clip_skip=skip)
