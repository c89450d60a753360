"""Rules for redrawing tile by tile: what can't be done to a picture in pieces. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.contract.types.kinds import Img2Img, Inpaint
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.contract.base.limits import Limits
    from worker.contract.types.composed.tiles import Tiles
    from worker.contract.types.controlnet import ControlNetUnit
    from worker.contract.types.kinds import Upscale

_WHOLE_PICTURE = {
    "ultimate_upscale": "does the same by an extension",
    "tiled_diffusion": "does the same by an extension",
    "tiling": "would make every tile repeat itself",
    "subseed_strength": "has no meaning for tiles, whose seeds count up",
}
"""Field → why it can't be had together with tiles."""


def problems_of(job: Img2Img | Upscale, tiles: Tiles, limits: Limits) -> Iterator[Problem]:
    """Yield the problems that `tiles` make together with the other fields of `job`."""
    if tiles.side**2 > limits.max_pixels:
        yield Problem("tiles.size", f"makes tiles of {tiles.side**2} pixels; at most {limits.max_pixels} are allowed")
    refiner = tiles.refiner
    if refiner is not None and (refiner.checkpoint is None or refiner.switch_at is None):
        missing = "checkpoint" if refiner.checkpoint is None else "switch_at"
        why = "no refiner runs" if missing == "checkpoint" else "the refiner draws from the first step"
        yield Problem(f"tiles.refiner.{missing}", f"is missing: without it {why}")
    yield from _own_pictures(tiles.controlnet or (), "tiles.controlnet")
    if isinstance(job, Img2Img):
        yield from _of_img2img(job, tiles)


def _of_img2img(job: Img2Img, tiles: Tiles) -> Iterator[Problem]:
    if isinstance(job, Inpaint):
        yield Problem("tiles", "can't be combined with a mask or outpaint; send an img2img job without")
    if (job.batch_size or 1) * (job.n_iter or 1) > 1:
        yield Problem("tiles", "makes one picture of each; leave batch_size and n_iter out, or send seeds")
    for name, why in _WHOLE_PICTURE.items():
        if getattr(job, name):
            yield Problem(name, f"can't be combined with tiles: it {why}")
    if job.resize_mode:
        yield Problem("resize_mode", "must be 0 with tiles, which stretch the picture to width and height")
    for name, twin in (("controlnet", tiles.controlnet), ("refiner_checkpoint", tiles.refiner)):
        if twin is not None and getattr(job, name) is not None:
            inner = "controlnet" if name == "controlnet" else "refiner"
            yield Problem(f"tiles.{inner}", "is in the job too; send one of them")
    own, shared = tiles.denoising_strength, job.denoising_strength
    if own is not None and shared is not None and own != shared:
        yield Problem("tiles.denoising_strength", "says something else than denoising_strength; send one of them")
    yield from _own_pictures(job.controlnet or (), "controlnet")


def _own_pictures(units: Sequence[ControlNetUnit], path: str) -> Iterator[Problem]:
    for index, unit in enumerate(units):
        for name in ("image", "mask", "effective_region_mask"):
            if unit.is_on and getattr(unit, name) is not None:
                yield Problem(f"{path}[{index}].{name}", "can't be given with tiles: each tile is its own picture")
