"""The pictures of one plain job: one prompt and one seed, in one request or by tiles, or one picture made larger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.common.interruption import Interruption
from worker.contract.types.kinds import Img2Img
from worker.jobs.composed.tile_redraw import redraw_start_picture
from worker.jobs.kinds.upscaling import upscale
from worker.jobs.results import apply_image_check, raise_if_all_refused

if TYPE_CHECKING:
    from worker.contract.types.job import Generation
    from worker.contract.types.kinds import Upscale
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.jobs.results import Generated


async def make_pictures(job: Generation, context: JobContext, services: JobServices) -> Generated:
    """Return the pictures of a plain job, verified and passed by the operator's image check.

    Raises:
        WorkerError: they can't be made.
    """
    generation = services.generation
    if isinstance(job, Img2Img) and job.tiles is not None:
        drawn = await redraw_start_picture(job, _whole_or_not_at_all(context), services)
        return await generation.check(drawn, context)
    prepared = await generation.prepare(job, context)
    return await generation.check(await generation.generate(prepared, context), context)


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
