"""Upscale jobs: a client's picture made larger by the WebUI's upscalers, and redrawn tile by tile on request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.common.clock import running
from worker.contract.rules.sizes import Size
from worker.errors import InvalidInput, ModelDamaged, WebUIFailed, WrongResult
from worker.images.degenerate import is_one_colour
from worker.images.formats.picture import BrokenPicture
from worker.images.inspect import decode_base64, inspect
from worker.jobs.composed.tile_redraw import TileRedraw, tile_job
from worker.jobs.job_services import LARGEST_DRAWN_SEED
from worker.jobs.kinds.webui_call import call_with_gpu
from worker.jobs.picture_facts import facts_of_redraw, facts_of_upscale
from worker.jobs.results import Generated
from worker.webui import api_paths
from worker.webui.request import upscale as upscale_request
from worker.webui.result import verify
from worker.webui.result.failures import WRONG_SHAPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.contract.types.kinds import Upscale
    from worker.errors import Problem
    from worker.images.formats.picture import Picture
    from worker.jobs.inputs import JobInputs
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.webui.backend import Backend
    from worker.webui.request.upscale import Upscaling


async def upscale(job: Upscale, context: JobContext, services: JobServices) -> Generated:
    """Return the upscaled picture, redrawn tile by tile where the job says so, proven to be what was asked for.

    Raises:
        WorkerError: it can't be made.
    """
    with context.phases.phase("prepare"):
        inputs = await services.inputs.load(job, context)
        asked = await services.threads.run(upscaling, job, inputs, services.backend)
    redraw = await _redraw(job, inputs, asked, context, services) if job.tiles is not None else None
    try:
        enlarged = await _enlarged(job, asked, context, services)
    except ModelDamaged as damaged:
        if job.fallback is None or job.fallback == asked.upscalers[0]:
            raise
        job = job.changed({"upscaler_1": job.fallback})
        asked = await services.threads.run(upscaling, job, inputs, services.backend)
        enlarged = await _enlarged(job, asked, context, services)
        enlarged = replace(enlarged, warnings=(*enlarged.warnings, f"{damaged.message}; {job.fallback} was used"))
    if redraw is None:
        return replace(enlarged, facts=(facts_of_upscale(job, enlarged.pictures[0], enlarged.applied),))
    drawn = await redraw.redraw(enlarged.pictures[0])
    return replace(
        drawn,
        facts=(facts_of_redraw(job, drawn),),
        applied={**drawn.applied, "upscalers": enlarged.applied["upscalers"]},
        info={**enlarged.info, **drawn.info},
        parameters={**enlarged.parameters, **({"tiles": drawn.parameters} if drawn.parameters else {})},
        warnings=(*enlarged.warnings, *drawn.warnings),
    )


async def _enlarged(job: Upscale, asked: Upscaling, context: JobContext, services: JobServices) -> Generated:
    """Return the picture that the WebUI's upscalers make, from the result cache where it has it."""

    async def make() -> Generated:
        read = partial(upscaled, job, asked)
        try:
            made = await call_with_gpu(api_paths.UPSCALE, asked.body, read, context, services)
        except WebUIFailed as error:
            raise _damaged_weights(error, asked.upscalers) from error
        return examined(job, asked, made, await _idle(asked.upscalers, context, services))

    digest = partial(services.digest.of_call, api_paths.UPSCALE, asked.body, context.target)
    return await services.cache.result(digest, make, context)


def _damaged_weights(error: WebUIFailed, upscalers: Sequence[str]) -> WebUIFailed | ModelDamaged:
    """Return the error for upscalers whose weights the WebUI can't read, any other error as it is."""
    said = str(error.details.get("upstream", ""))
    if WRONG_SHAPES not in said:
        return error
    names = " or ".join(repr(name) for name in dict.fromkeys(upscalers))
    return ModelDamaged(
        f"the weights of {names} are damaged, or of another kind of network than the WebUI takes them for",
        hint="Put the publisher's file in its place, or name another upscaler.",
        details={"upscalers": list(upscalers)},
    )


async def _redraw(
    job: Upscale, inputs: JobInputs, asked: Upscaling, context: JobContext, services: JobServices
) -> TileRedraw:
    """Return the redrawing of the upscaled picture, its models in place and its mistakes found before the upscaling."""
    seed = job.seed if job.seed is not None and job.seed >= 0 else services.random.randint(0, LARGEST_DRAWN_SEED)
    plain, plan = tile_job(job, notes=inputs.infotext, seed=seed)
    redraw = TileRedraw(plain, plan, context, services)
    await redraw.prepare(asked.size)
    return redraw


async def _idle(upscalers: Sequence[str], context: JobContext, services: JobServices) -> list[str]:
    """Return the upscalers that only resize, looked at once each, alone on the GPU."""
    backend = services.backend
    unseen = backend.probe.unseen(upscalers)
    if not unseen:
        return []

    async def work() -> list[str]:
        return await backend.idle_upscalers(unseen, timeout=max(1.0, context.deadline - running()))

    return await services.executor.call(work, context.deadline, context.phases)


@dataclass(frozen=True, slots=True)
class Upscaled:
    """An upscaled picture, the WebUI's words about it, and the differences that the job allows."""

    picture: Picture
    html_info: str
    warnings: tuple[str, ...] = ()


def upscaling(job: Upscale, inputs: JobInputs, backend: Backend) -> Upscaling:
    """Return the WebUI request for `job`.

    Raises:
        InvalidInput: an upscaler that is not there.
    """
    if inputs.size is None:
        raise AssertionError("an upscale job has a picture")
    asked, problems = upscale_request.upscaling(
        job, inputs.images[0], inputs.size, backend.catalog, backend.plan.weights
    )
    if problems:
        raise InvalidInput(problems)
    return asked


def upscaler_mistakes(job: Upscale, backend: Backend) -> list[Problem]:
    """Return what is wrong with the upscalers of a job that has mistakes of other kinds, whatever its picture is."""
    smallest = Size(1, 1)
    return upscale_request.upscaling(job, "", smallest, backend.catalog, backend.plan.weights)[1]


def upscaled(job: Upscale, asked: Upscaling, content: Any) -> Upscaled:
    """Return the picture in the WebUI's answer to `asked`.

    Raises:
        WrongResult: there is none, a damaged one, or another than was asked for and the job does not say that a
            warning is enough.
    """
    text = content.get("image") if isinstance(content, dict) else None
    if not isinstance(text, str):
        raise WrongResult("the WebUI's answer has no picture")
    try:
        picture = inspect(decode_base64(text), base64=text)
    except BrokenPicture as broken:
        raise WrongResult(f"the upscaled picture is damaged: {broken}") from broken
    if is_one_colour(picture) and not is_one_colour(inspect(decode_base64(str(asked.body["image"])))):
        raise WrongResult("the upscaled picture is of one colour from edge to edge, and the one that was sent is not")
    html_info = str(content.get("html_info", ""))
    try:
        upscale_request.check_upscaled(asked, Size(picture.width, picture.height), html_info)
    except WrongResult as error:
        if job.on_mismatch != "warn":
            raise
        return Upscaled(picture, html_info, (error.message,))
    return Upscaled(picture, html_info)


def examined(job: Upscale, asked: Upscaling, made: Upscaled, idle: Sequence[str]) -> Generated:
    """Return the result of an upscale job after proving that its upscalers were at work.

    Args:
        job: The job.
        asked: The request.
        made: Its answer.
        idle: Its upscalers that were seen to do nothing.

    Raises:
        ModelDamaged: one did nothing, and the job does not say that a warning is enough.
    """
    warnings = [*asked.warnings, *made.warnings]
    damaged = verify.idle_upscalers(idle)
    if damaged is not None:
        if job.on_mismatch != "warn":
            raise damaged
        warnings.append(damaged.message)
    picture = made.picture
    applied = {"upscalers": list(asked.upscalers), "size": {"width": picture.width, "height": picture.height}}
    return Generated(
        pictures=(picture,),
        seeds=(0,),
        applied=applied,
        info={"html_info": made.html_info},
        parameters=asked.told(),
        warnings=tuple(warnings),
    )
