"""The plain jobs of a job, one prompt and one seed each: their pictures prepared, generated and checked."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from worker.common.interruption import Interruption
from worker.contract.types.kinds import Img2Img
from worker.errors import Cancelled, WorkerError, WorkerFault
from worker.jobs.composed.plots import in_cell, plot_sheet_of
from worker.jobs.composed.tile_redraw import redraw_start_picture
from worker.jobs.kinds.upscaling import upscale
from worker.jobs.results import PartResult, apply_image_check, merge_results, raise_if_all_refused

if TYPE_CHECKING:
    from worker.contract.types.job import Generation
    from worker.contract.types.kinds import Upscale
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.jobs.result_delivery import ResultStream
    from worker.jobs.results import Generated

ENDED_WITH_NOTHING = "the job was ended by its client, and what was made by then was not right"


async def make_each(job: Generation, context: JobContext, services: JobServices, stream: ResultStream) -> Generated:
    """Return the pictures of each prompt, seed or plot cell of a job; of several, those that worked count.

    Args:
        job: As accepted, without `accept`.
        context: Its context.
        services: The worker's.
        stream: Is told each plain job's pictures as soon as they are made.

    Raises:
        WorkerError: no picture could be made, or the operator's image check refused every one.
    """
    parts: list[PartResult] = []
    plain_jobs = await services.plain_jobs(job, split_batches=bool(job.stream) or context.has_many)
    if job.plot is not None:
        await services.generation.refuse_mistakes((plain.job for plain in plain_jobs), context)
    counts = [(plain.job.batch_size or 1) * (plain.job.n_iter or 1) for plain in plain_jobs]
    for number, plain in enumerate(plain_jobs):
        if plain.continues and parts[-1].error is not None:
            continue
        make = partial(make_pictures, plain.job, context.part(number, counts), services)
        try:
            made = await context.interruption.unless_ended(make)
            if made is None:
                break
            context.interruption.has_pictures = True
            part = PartResult(plain.path, made if plain.cell is None else in_cell(made, plain.cell), cell=plain.cell)
        except WorkerError as error:
            if not (job.prompts or job.seeds or job.plot):
                raise
            part = PartResult(plain.path, error=error, cell=plain.cell)
        stream.add(part)
        parts = [*parts[:-1], parts[-1].followed(part)] if plain.continues else [*parts, part]
        if isinstance(part.error, WorkerFault) or context.interruption.is_ended:
            break
    if not parts:
        raise Cancelled(ENDED_WITH_NOTHING)
    result = merge_results(parts)
    raise_if_all_refused(result)
    return result if job.plot is None else replace(result, sheet=await services.threads.run(plot_sheet_of, job, parts))


async def make_pictures(job: Generation, context: JobContext, services: JobServices) -> Generated:
    """Return the pictures of a plain job, verified and passed by the operator's image check.

    Raises:
        WorkerError: they can't be made.
    """
    generation = services.generation
    if isinstance(job, Img2Img) and job.tiles is not None:
        generated = await redraw_start_picture(job, _whole_or_not_at_all(context), services)
    else:
        prepared = await generation.prepare(job, context)
        generated = await generation.generate(prepared, context)
    return await generation.check(generated, context)


async def make_larger(job: Upscale, context: JobContext, services: JobServices) -> Generated:
    """Return the picture of an upscale job, verified and passed by the operator's image check.

    Raises:
        WorkerError: it can't be made.
    """
    result = await upscale(job, _whole_or_not_at_all(context), services)
    if services.operator.gate is not None:
        result = await services.threads.run(apply_image_check, services.operator.gate, result)
        raise_if_all_refused(result)
    return result


def _whole_or_not_at_all(context: JobContext) -> JobContext:
    """Return the context for a picture of several requests: one of them that ends early is no picture."""
    return replace(context, interruption=Interruption())
