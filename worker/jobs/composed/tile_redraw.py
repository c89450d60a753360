"""Redrawing of a picture tile by tile: cut, img2img in batches, blended into one picture again.

Every batch is a generation like any other: queued, retried and verified. Tile i has the seed of the job + i.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from PIL import Image
from pydantic import ValidationError

from worker.contract.expand.from_infotext import job_from
from worker.contract.rules.sizes import Size
from worker.contract.types.composed.tiles import DEFAULT_TILE_STRENGTH, TILE_FIELDS, TilePrompt
from worker.contract.types.kinds import Img2Img, Upscale
from worker.errors import OutOfMemory
from worker.images import infotext
from worker.images.convert import encode
from worker.images.incoming import to_base64
from worker.images.inspect import decode_base64, inspect
from worker.images.layout.tile_grid import TileCanvas, cut, tile_grid
from worker.images.pixels import decoded
from worker.jobs.inputs import JobInputs
from worker.jobs.picture_facts import facts_of_redraw
from worker.jobs.results import Generated
from worker.telemetry.progress import GENERATED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.contract.types.composed.tiles import Tiles
    from worker.images.formats.picture import Picture
    from worker.images.layout.tile_grid import Corner, TileGrid
    from worker.jobs.generation import PreparedJob
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.telemetry.progress import Progress, ProgressSink

TILES_AT_ONCE = 4
SMALLEST_TILE = 256
"""Pixels a side: tiles are not halved below this when the GPU's memory is too small."""
_FROM_NOTES = ("prompt", "negative_prompt", "checkpoint", "vae", "clip_skip")
"""Fields that a picture's own notes give where the job has no prompt."""


@dataclass(frozen=True, slots=True)
class TilePlan:
    """The tiles of one picture and how they are redrawn.

    Attributes:
        tiles: As the client wants them.
        side, overlap: Of a tile, pixels; smaller than wanted after the GPU was out of memory.
        at_once: Tiles in one request.
        strength: Denoising strength; 0: nothing is redrawn.
    """

    tiles: Tiles
    side: int
    overlap: int
    at_once: int
    strength: float

    def grid(self, size: Size) -> TileGrid:
        """Return the tiles of a picture of this size."""
        return tile_grid(size.width, size.height, size=self.side, overlap=self.overlap)

    def at_once_for(self, grid: TileGrid, max_pixels: int) -> int:
        """Return how many tiles one request redraws: no more pixels than a batch may have, but one tile at least."""
        return max(1, min(self.at_once, max_pixels // (grid.tile_width * grid.tile_height)))

    def within(self, side: int, at_once: int) -> TilePlan:
        """Return the plan with tiles of at most that side, and no more of them at once."""
        plan: TilePlan | None = self
        while plan is not None and plan.side > side:
            plan = plan.halved()
        return replace(plan or self, at_once=min(self.at_once, at_once))

    def halved(self) -> TilePlan | None:
        """Return the plan with tiles of half the side, None where they would be too small to show anything."""
        side = self.side // 2 // 8 * 8
        return replace(self, side=side, overlap=max(8, self.overlap // 2)) if side >= SMALLEST_TILE else None


def tile_job(job: Img2Img | Upscale, *, notes: str | None, seed: int) -> tuple[Img2Img, TilePlan]:
    """Return the img2img job that redraws one tile, and the plan for all of them.

    Args:
        job: With `tiles`.
        notes: The picture's infotext, which tells what it shows where the job does not.
        seed: Of the first tile.
    """
    tiles = job.tiles
    if tiles is None:
        raise ValueError("the job has no tiles")
    plain = job if isinstance(job, Img2Img) else _of_upscale(job)
    strength = tiles.denoising_strength if tiles.denoising_strength is not None else plain.denoising_strength
    changes: dict[str, Any] = {"tiles": None, "seed": seed, "width": None, "height": None, "resize_mode": None}
    written: dict[str, str] = {}
    if strength is None:
        strength = DEFAULT_TILE_STRENGTH
    changes["denoising_strength"] = strength
    if tiles.refiner is not None:
        changes |= {"refiner_checkpoint": tiles.refiner.checkpoint, "refiner_switch_at": tiles.refiner.switch_at}
        written |= {"refiner_checkpoint": "tiles.refiner.checkpoint", "refiner_switch_at": "tiles.refiner.switch_at"}
    if tiles.controlnet is not None:
        changes["controlnet"] = tiles.controlnet
        written["controlnet"] = "tiles.controlnet"
    plain = plain.changed(changes, written)
    if notes and not plain.prompt and not plain.styles:
        plain = _as_noted(plain, notes, "image" if isinstance(job, Upscale) else "init_images[0]")
    units = any(unit.is_on for unit in plain.controlnet or ())  # a unit takes the first picture of a batch for all
    at_once = 1 if units else tiles.batch_size or TILES_AT_ONCE
    return plain, TilePlan(tiles, tiles.side, tiles.pixels_of_overlap, at_once, strength)


def _of_upscale(job: Upscale) -> Img2Img:
    given = {name: getattr(job, name) for name in TILE_FIELDS if name in job.model_fields_set}
    given = {name: value for name, value in given.items() if value is not None}
    plain = Img2Img.model_construct(init_images=[], output=job.output, on_mismatch=job.on_mismatch, **given)
    plain.remember(warnings=(), written=job.written)
    return plain


def _as_noted(plain: Img2Img, notes: str, path: str) -> Img2Img:
    """Return `plain` with what the picture's own notes say about its prompt and models."""
    said = infotext.parse(notes)
    fields = job_from(said.prompt, said.negative_prompt, said.fields).job
    known: dict[str, Any] = {}
    for name in _FROM_NOTES:
        if name in fields and getattr(plain, name) in (None, ""):
            with suppress(ValidationError):  # a value that no job could have says nothing
                known[name] = getattr(TilePrompt.model_validate({name: fields[name]}), name)
    return plain.changed(known, dict.fromkeys(known, path)) if known else plain


def tile_inputs(tiles: Sequence[Image.Image], grid: TileGrid) -> JobInputs:
    """Return tiles as the pictures that one img2img request starts from. Blocking."""
    size = Size(grid.tile_width, grid.tile_height)
    return JobInputs(tuple(to_base64(tile) for tile in tiles), size=size, own=size)


def batch_of(number: int) -> dict[str, Any]:
    """Return the fields of a request for so many tiles."""
    return {"batch_size": number if number > 1 else None, "n_iter": None}


class TileRedraw:
    """Redraws one picture.

    Args:
        plain: The img2img job of one tile.
        plan: For all tiles.
        context: The job's.
        services: The worker's.
    """

    def __init__(self, plain: Img2Img, plan: TilePlan, context: JobContext, services: JobServices) -> None:
        self._plain = plain
        self._plan = plan.within(*context.tile_sizes[plan.side]) if plan.side in context.tile_sizes else plan
        self._wanted = plan.side
        self._context = context
        self._services = services
        self._prepared: PreparedJob | None = None
        self._notes: list[str] = []

    async def prepare(self, size: Size) -> None:
        """Find every mistake and bring every model for a picture of this size; nothing is drawn yet.

        Raises:
            WorkerError: see `ImageGeneration.prepare`.
        """
        if self._plan.strength > 0:
            inputs = tile_inputs((), self._plan.grid(size))
            self._prepared = await self._services.generation.prepare(self._plain, self._context, inputs)

    async def redraw(self, picture: Picture) -> Generated:
        """Return the picture redrawn. With a denoising strength of 0 it is returned as it is.

        Raises:
            WorkerError: a tile can't be made.
        """
        threads = self._services.threads
        if self._prepared is None:
            return Generated((picture,), (self._seed,), self._applied({}, picture, None, ()), {}, {})
        image = await threads.run(lambda: decoded(picture).convert("RGB"))
        while True:
            grid = self._plan.grid(Size(*image.size))
            try:
                return await self._redrawn(image, grid, self._prepared)
            except OutOfMemory:
                smaller = self._plan.halved()
                if smaller is None:
                    raise
                self._notes.append(
                    f"The GPU's memory was too small for tiles of {self._plan.side}; they are of {smaller.side} pixels."
                )
                self._learn(replace(smaller, at_once=self._plan.at_once))

    def _learn(self, plan: TilePlan) -> None:
        """Go on with a plan that takes less memory; the job's next pictures begin with it."""
        self._plan = plan
        self._context.tile_sizes[self._wanted] = (plan.side, plan.at_once)

    @property
    def _seed(self) -> int:
        return self._plain.seed or 0

    async def _redrawn(self, image: Image.Image, grid: TileGrid, prepared: PreparedJob) -> Generated:
        threads, generation = self._services.threads, self._services.generation
        canvas = TileCanvas(grid, self._plan.tiles.blend or "cosine")
        corners, seeds = grid.corners(), [self._seed + index for index in range(grid.count)]
        first: Generated | None = None
        at_once = self._plan.at_once_for(grid, self._services.limits.max_pixels)
        done = 0
        while done < grid.count:
            number = min(at_once, grid.count - done)
            with self._context.phases.phase("prepare"):
                inputs = await threads.run(_cut, image, grid, corners[done : done + number])
                changes = {"seed": seeds[done], **batch_of(number)}
                batch = await generation.with_inputs(prepared, changes, inputs)
            context = replace(self._context, on_progress=_of_tiles(self._context.on_progress, done, number, grid.count))
            try:
                made = await generation.generate(batch, context)
            except OutOfMemory:
                if number == 1:
                    raise
                at_once = number // 2
                self._notes.append(f"The GPU's memory holds {at_once} of these tiles at once.")
                self._learn(replace(self._plan, at_once=at_once))
                continue
            with self._context.phases.phase("check"):
                await threads.run(_add, canvas, made.pictures)
            self._notes += made.warnings
            first = first or made
            done += number
        if first is None:
            raise AssertionError("a grid has a tile")
        with self._context.phases.phase("deliver"):
            return await threads.run(self._joined, canvas, grid, first, seeds)

    def _joined(self, canvas: TileCanvas, grid: TileGrid, first: Generated, seeds: Sequence[int]) -> Generated:
        whole = encode(canvas.picture(), "png", infotext=self._infotext(first.pictures[0].infotext, grid))
        return replace(
            first,
            pictures=(whole,),
            seeds=(self._seed,),
            applied=self._applied(first.applied, whole, grid, seeds),
            warnings=tuple(dict.fromkeys(self._notes)),
            extras=(),
            facts=first.facts[:1],
        )

    def _applied(
        self, applied: dict[str, Any], whole: Picture, grid: TileGrid | None, seeds: Sequence[int]
    ) -> dict[str, Any]:
        tiles = {
            "count": grid.count if grid is not None else 0,
            "size": self._plan.side,
            "overlap": self._plan.overlap,
            "blend": self._plan.tiles.blend or "cosine",
            "denoising_strength": self._plan.strength,
            "seeds": list(seeds),
        }
        return {**applied, "size": {"width": whole.width, "height": whole.height}, "tiles": tiles}

    def _infotext(self, of_tile: str | None, grid: TileGrid) -> str | None:
        """Return the notes of the whole picture: those of its first tile, with its own size and its tiles."""
        if of_tile is None:
            return None
        said = infotext.parse(of_tile)
        own = {
            "Size": f"{grid.width}x{grid.height}",
            "Tiles": str(grid.count),
            "Tile size": str(self._plan.side),
            "Tile overlap": str(self._plan.overlap),
            "Tile blend": self._plan.tiles.blend or "cosine",
        }
        return infotext.format_infotext(replace(said, fields={**said.fields, **own}))


def _cut(image: Image.Image, grid: TileGrid, corners: Sequence[Corner]) -> JobInputs:
    return tile_inputs([cut(image, grid, corner) for corner in corners], grid)


def _add(canvas: TileCanvas, pictures: Sequence[Picture]) -> None:
    for picture in pictures:
        canvas.add(decoded(picture))


def _of_tiles(sink: ProgressSink, done: int, number: int, count: int) -> ProgressSink:
    """Return a sink for the progress of one batch of tiles that turns it into the job's."""

    def tell(progress: Progress) -> None:
        share = (done + number * min(progress.percent, GENERATED) / GENERATED) / count
        image = done + (progress.image or 1)
        sink(replace(progress, percent=GENERATED * share, image=min(count, image), images=count, eta_s=None))

    return tell


async def redraw_start_picture(job: Img2Img, context: JobContext, services: JobServices) -> Generated:
    """Return the start picture of an img2img job redrawn tile by tile, stretched to the job's size first.

    Raises:
        WorkerError: it can't be made.
    """
    with context.phases.phase("prepare"):
        inputs = await services.inputs.load(job, context)
    size = result_size(job, inputs)
    plain, plan = tile_job(job, notes=inputs.infotext, seed=job.seed or 0)
    redraw = TileRedraw(plain, plan, context, services)
    await redraw.prepare(size)
    drawn = await redraw.redraw(await services.threads.run(_stretched, inputs.images[0], size))
    return replace(drawn, facts=(facts_of_redraw(job, drawn),), warnings=(*inputs.warnings, *drawn.warnings))


def result_size(job: Img2Img, inputs: JobInputs) -> Size:
    """Return the size of a redrawn start picture: the job's, else the picture's own, which need be no multiple of 8."""
    if inputs.own is None or inputs.size is None:
        raise AssertionError("an img2img job has a picture")
    return inputs.own if job.width is None and job.height is None else inputs.size


def _stretched(image: str, size: Size) -> Picture:
    picture = inspect(decode_base64(image), base64=image)
    if (picture.width, picture.height) == (size.width, size.height):
        return picture
    pixels = decoded(picture).resize((size.width, size.height), Image.Resampling.LANCZOS)
    return encode(pixels, "png", fast=True)
