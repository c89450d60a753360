"""Dry runs of jobs: their requests, fetches and cost, and every mistake, without doing them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from worker.contract.types.job import Generation
from worker.contract.types.kinds import Img2Img, Interrogate, JudgeImages, Prefetch, Upscale
from worker.errors import InvalidInput
from worker.jobs.composed.tile_redraw import batch_of, result_size, tile_inputs, tile_job
from worker.jobs.generation import PreparedJob
from worker.jobs.judging.job_panel import panel_for
from worker.jobs.kinds import upscaling, volume_models
from worker.webui import api_paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.rules.sizes import Size
    from worker.contract.types.job import Job
    from worker.contract.types.model_ref import ModelRef
    from worker.jobs.inputs import JobInputs
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.jobs.prepare.model_preparation import ModelPlan
    from worker.models.store import ModelStore
    from worker.settings import ModelKind
    from worker.webui.request.body import Request


@dataclass(slots=True)
class DryRun:
    """The findings about a job that was not run."""

    requests: list[Request] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    fetch: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    size: Size | None = None
    """Of its pictures, where that is known."""

    def to_json(self, kind: str) -> dict[str, Any]:
        """Return the answer of `validate`."""
        sizes = [request.expect.size for request in self.requests]
        pixels = [size.pixels if size is not None else 0 for size in sizes]
        return {
            "valid": True,
            "type": kind,
            "requests": [
                *({"path": request.path, "body": request.parameters()} for request in self.requests),
                *self.calls,
            ],
            "fetch": self.fetch,
            "cost": cost([request.body for request in self.requests], pixels),
            "warnings": list(dict.fromkeys(self.warnings)),
        }


async def dry_run(job: Job, context: JobContext, services: JobServices) -> DryRun:
    """Return the requests and fetches of `job`. Raises WorkerError where it would fail."""
    dry = DryRun(warnings=list(job.warnings))
    if isinstance(job, JudgeImages):
        await panel_for(job, "", context, services)
    elif isinstance(job, Generation):
        if job.accept is not None:
            await panel_for(job.accept, job.path("accept"), context, services)
            most, wanted = job.accept.most, job.accept.wanted
            dry.warnings.append(f"accept: up to {most} pictures are made, until {wanted} are accepted")
        await _dry_generation(job, dry, context, services)
    elif isinstance(job, Upscale):
        inputs = await services.inputs.load(job, context)
        asked = await services.threads.run(upscaling.upscaling, job, inputs, services.backend)
        dry.calls.append({"path": api_paths.UPSCALE, "body": asked.told()})
        dry.warnings += asked.warnings
        dry.size = asked.size
        if job.tiles is not None:
            await _dry_tiles(job, inputs, asked.size, dry, context, services)
    elif isinstance(job, Interrogate):
        await services.inputs.load(job, context)
    elif isinstance(job, Prefetch):
        dry.fetch += await services.threads.run(_missing, job, services.store)
    return dry


async def _dry_generation(job: Generation, dry: DryRun, context: JobContext, services: JobServices) -> None:
    problems = []
    for plain in await services.plain_jobs(job, split_batches=bool(job.stream)):
        try:
            if isinstance(plain.job, Img2Img) and plain.job.tiles is not None:
                inputs = await services.inputs.load(plain.job, context)
                size = result_size(plain.job, inputs)
                await _dry_tiles(plain.job, inputs, size, dry, context, services)
                dry.size = size
                continue
            found = await services.generation.dry_run(plain.job, context)
        except InvalidInput as error:
            problems += error.problems
            continue
        _note(found, dry)
    if problems:
        raise InvalidInput(list(dict.fromkeys(problems)))


def _note(found: PreparedJob | ModelPlan, dry: DryRun) -> None:
    if isinstance(found, PreparedJob):
        dry.requests.append(found.request)
        dry.size = found.request.expect.size
        dry.warnings += found.warnings
    else:
        dry.fetch += [_shown(model.wanted) for model in found.missing]


async def _dry_tiles(
    job: Img2Img | Upscale, inputs: JobInputs, size: Size, dry: DryRun, context: JobContext, services: JobServices
) -> None:
    """Note the requests that redraw a picture of `size` tile by tile; their pictures are made later."""
    plain, plan = tile_job(job, notes=inputs.infotext, seed=job.seed or 0)
    if plan.strength == 0:
        return
    grid = plan.grid(size)
    at_once = plan.at_once_for(grid, services.limits.max_pixels)
    found = await services.generation.dry_run(plain, context, tile_inputs((), grid))
    if not isinstance(found, PreparedJob):
        _note(found, dry)
        return
    for done in range(0, grid.count, at_once):
        changes = {"seed": (job.seed or 0) + done, **batch_of(min(at_once, grid.count - done))}
        _note(await services.generation.with_inputs(found, changes, tile_inputs((), grid)), dry)


def _missing(job: Prefetch, store: ModelStore) -> list[dict[str, Any]]:
    """Return the models that a prefetch would fetch. Raises ModelNotFound for one that nobody knows."""
    missing = []
    for path, ref, kind in volume_models.wanted_of(job):
        choice = store.resolve(ref, kind, path=path)
        if store.find(ref, kind, path=path) is not None:
            continue
        if not choice.locators:
            raise store.not_found(choice, ref)
        missing.append(_shown((path, ref, kind)))
    return missing


def _shown(wanted: tuple[str, ModelRef, ModelKind]) -> dict[str, Any]:
    path, ref, kind = wanted
    return {"path": path, "kind": kind, "ref": ref.shown}


def cost(bodies: Sequence[Mapping[str, Any]], pixels: Sequence[int]) -> dict[str, Any]:
    """Return the cost of requests: pictures, sampling steps, and steps times megapixels."""
    pictures = [int(body.get("batch_size", 1)) * int(body.get("n_iter", 1)) for body in bodies]
    steps = [count * int(body.get("steps", 50)) for count, body in zip(pictures, bodies, strict=True)]
    work = sum(number * size for number, size in zip(steps, pixels, strict=True)) / 1_000_000
    return {"pictures": sum(pictures), "steps": sum(steps), "megapixel_steps": round(work, 3)}
