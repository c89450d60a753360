"""Rules between fields: what each field allows alone but the WebUI fails on, or ignores, together."""

from __future__ import annotations

import re
from math import prod
from typing import TYPE_CHECKING

from worker.common.suggestions import plain
from worker.contract.rules import judging, prompt_syntax, tile_rules
from worker.contract.rules.sizes import HiresSize, Size, hires_size
from worker.contract.types.composed.tiles import TILE_FIELDS
from worker.contract.types.job import Generation, Txt2Img
from worker.contract.types.kinds import Img2Img, Inpaint, JudgeImages, Listing, Prefetch, Upscale
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.contract.base.limits import Limits
    from worker.contract.types.job import Job

DEFAULT_SIDE = 512
"""Width and height where the job gives none (the WebUI's own default)."""
UNIPC_STEPS = 3
_NOISY = re.compile(r"ancestral|sde|[\s_]a(?:[\s_]|$)", re.IGNORECASE)
"""Names of samplers that put new noise in at each step: ``Euler a``, ``k_dpm_2_a``, ``DPM++ SDE Karras``."""


def problems_between(job: Job, limits: Limits) -> Iterator[Problem]:
    """Yield the problems that only several fields together make."""
    if isinstance(job, Generation):
        yield from _generation(job, limits)
    if isinstance(job, Txt2Img):
        yield from _hires(job, limits)
    if isinstance(job, Img2Img):
        yield from _start(job)
    if isinstance(job, Inpaint):
        yield from _mask(job)
    if isinstance(job, Upscale):
        yield from _upscale(job)
    if isinstance(job, JudgeImages):
        yield from judging.criteria_problems(job, "")
    if isinstance(job, (Img2Img, Upscale)) and job.tiles is not None:
        yield from tile_rules.problems_of(job, job.tiles, limits)
    if isinstance(job, Prefetch):
        yield from _prefetch(job)
    if isinstance(job, Listing) and job.role is not None and job.type != "presets":
        yield Problem("role", "is of presets alone; leave it out, or list presets")
    yield from _output(job)


def _generation(job: Generation, limits: Limits) -> Iterator[Problem]:
    yield from _pictures(job, limits)
    yield from _samplers(job)
    yield from _refiner(job)
    yield from _several(job)
    yield from _loras(job)
    yield from prompt_syntax.problems_of(job)
    yield from _extensions(job)
    yield from _parts(job, limits)
    if job.accept is not None:
        yield from judging.problems_of(job, job.accept, limits)
    elif job.output.rejected is not None:
        yield Problem("output.rejected", "has no effect without accept")


def _loras(job: Generation) -> Iterator[Problem]:
    if job.loras and job.disable_extra_networks:
        yield Problem("loras", "does nothing with disable_extra_networks: true; leave one of them out")


def _prefetch(job: Prefetch) -> Iterator[Problem]:
    for index, lora in enumerate(job.loras or ()):
        if lora.one_of is not None:
            yield Problem(f"loras[{index}].one_of", "draws for a picture; name each LoRA that is to be fetched")


def warnings_between(job: Job) -> Iterator[str]:
    """Yield what the client should know about fields that have no effect."""
    if isinstance(job, Generation) and job.refiner_switch_at is not None and job.refiner_checkpoint is None:
        yield "refiner_switch_at has no effect without refiner_checkpoint"
    if isinstance(job, Generation) and job.refiner_checkpoint is not None:
        if job.refiner_switch_at == 1:
            yield "refiner_switch_at 1 leaves the refiner no step: the checkpoint makes the picture alone"
        elif job.refiner_switch_at == 0:
            yield "refiner_switch_at 0 leaves the checkpoint no step: the refiner makes the picture alone"
    if isinstance(job, Generation):
        yield from prompt_syntax.warnings_of(job)
        yield from _zeros(job)
    if isinstance(job, Img2Img):
        yield from _starts(job)
    if isinstance(job, Upscale):
        yield from _upscale_warnings(job)
    if job.output.quality is not None and job.output.format in {None, "png"}:
        yield "output.quality has no effect on png"


def _zeros(job: Generation) -> Iterator[str]:
    """Yield a warning for each zero that is a default in some client's form and switches something off here."""
    if _adds_noise(job.sampler_name):
        given = {"eta": job.eta, "s_noise": job.s_noise}
        for name, option in (("eta", "eta_ancestral"), ("s_noise", "s_noise")):
            value = given[name] if given[name] is not None else (job.override_settings or {}).get(option)
            if value == 0:
                yield f"{job.path(name)} 0 takes the noise out of {job.sampler_name}, which adds some at every step"
    if isinstance(job, Img2Img):
        noise = job.initial_noise_multiplier
        if noise is None:
            noise = (job.override_settings or {}).get("initial_noise_multiplier")
        if noise == 0:
            path = job.path("initial_noise_multiplier")
            yield f"{path} 0 takes the noise away that the picture is made from; 1 is usual"
        if job.denoising_strength == 0:
            yield f"{job.path('denoising_strength')} 0 changes nothing in the picture"


def _starts(job: Img2Img) -> Iterator[str]:
    """Yield a warning where the number of start pictures and of a batch are read otherwise by the WebUI."""
    batch, starts = job.batch_size or 1, len(job.init_images)
    if min(batch, starts) > 1:
        path = job.path("batch_size")
        yield f"{path} {batch} makes {batch} pictures of each of the {starts} start pictures; without it, one of each"


def _adds_noise(sampler: str | None) -> bool:
    return sampler is not None and _NOISY.search(sampler) is not None


def _upscale_warnings(job: Upscale) -> Iterator[str]:
    idle = [name for name in TILE_FIELDS if name in job.model_fields_set]
    if job.tiles is None and idle:
        yield f"{', '.join(idle)} {'has' if len(idle) == 1 else 'have'} no effect without tiles"
    if job.resize_mode == 0 and job.upscaling_resize_w is not None:
        yield "the size has no effect with resize_mode 0, which is by factor"
    if job.resize_mode == 1 and job.upscaling_resize is not None:
        yield "upscaling_resize has no effect with resize_mode 1, which is to a size"


def first_size(job: Generation) -> Size:
    """Return the size of the first pass, the WebUI's default where the job gives none."""
    return Size(job.width or DEFAULT_SIDE, job.height or DEFAULT_SIDE)


def second_size(job: Txt2Img) -> HiresSize | None:
    """Return the sizes of the hires pass, None without one."""
    if not job.enable_hr:
        return None
    return hires_size(first_size(job), scale=job.hr_scale, resize_x=job.hr_resize_x, resize_y=job.hr_resize_y)


def final_size(job: Txt2Img) -> Size:
    """Return the size that the pictures have to have."""
    second = second_size(job)
    return second.final if second else first_size(job)


def largest_size(job: Txt2Img) -> Size:
    """Return the largest size that the GPU has to hold for one picture."""
    first, second = first_size(job), second_size(job)
    return second.work if second and second.work.pixels > first.pixels else first


def picture_count(job: Generation) -> int:
    """Return how many pictures `job` asks for, all its prompts, or all cells of its plot, together."""
    starts = len(job.init_images) if isinstance(job, Img2Img) else 1
    if job.plot is not None:
        starts *= prod(len(axis.values) for _, axis in job.plot.axes())
    each = len(job.seeds) if job.seeds else (job.batch_size or 1) * (job.n_iter or 1)
    if not job.prompts:
        return each * starts
    return starts * sum(
        (part.batch_size or job.batch_size or 1) * (part.n_iter or job.n_iter or 1) for part in job.prompts
    )


def is_reproducible(job: Job) -> bool:
    """Return whether nothing about the pictures of `job` is left to chance."""
    if not isinstance(job, Generation):
        return True
    if job.subseed_strength and (job.subseed is None or job.subseed < 0):
        return False
    if job.seeds:
        return all(seed >= 0 for seed in job.seeds)
    if job.prompts:
        return all(_is_fixed(part.seed if part.seed is not None else job.seed) for part in job.prompts)
    return _is_fixed(job.seed)


def _is_fixed(seed: int | None) -> bool:
    return seed is not None and seed >= 0


def _pictures(job: Generation, limits: Limits) -> Iterator[Problem]:
    pictures = picture_count(job)
    if pictures > limits.max_images:
        if job.plot or job.prompts or job.seeds or (isinstance(job, Img2Img) and len(job.init_images) > 1):
            field = "plot" if job.plot else "prompts" if job.prompts else "seeds" if job.seeds else "init_images"
            what = "the job"
        else:
            field, what = ("n_iter" if (job.n_iter or 1) > 1 else "batch_size"), "batch_size x n_iter"
        yield Problem(field, f"{what} must be at most {limits.max_images} pictures, not {pictures} (this endpoint)")
    yield from _first_pass(job, limits)


def _first_pass(job: Generation, limits: Limits) -> Iterator[Problem]:
    first = first_size(job)
    if first.pixels > limits.max_pixels:
        field = "height" if first.height > first.width else "width"
        yield Problem(
            field, f"width x height must be at most {limits.max_pixels} pixels, not {first.pixels} (this endpoint)"
        )


def _parts(job: Generation, limits: Limits) -> Iterator[Problem]:
    """Yield what one of several prompts makes of the job that the job alone does not have."""
    if not job.prompts:
        return
    known = set(_of_one(job, limits))
    for index, part in enumerate(job.prompts):
        given = {name: getattr(part, name) for name in part.model_fields_set}
        for problem in _of_one(job.changed({"prompts": None, **given}), limits):
            if problem.path in given:
                yield Problem(f"prompts[{index}].{problem.path}", problem.message)
            elif problem not in known:
                yield Problem(f"prompts[{index}]", f"{problem.path}: {problem.message}")


def _of_one(job: Generation, limits: Limits) -> Iterator[Problem]:
    yield from _first_pass(job, limits)
    yield from _samplers(job)
    if isinstance(job, Txt2Img):
        yield from _hires(job, limits)


def _several(job: Generation) -> Iterator[Problem]:
    if job.seeds and job.prompts:
        yield Problem("seeds", "can't be combined with prompts; give each prompt its seed")
    if job.seeds and job.seed is not None:
        yield Problem("seeds", "can't be combined with seed; send one of them")
    pictures = (job.batch_size or 1) * (job.n_iter or 1)
    if job.seeds and pictures not in {1, len(job.seeds)}:
        yield Problem("seeds", f"has {len(job.seeds)} seeds for {pictures} pictures (batch_size x n_iter)")
    if job.prompts and job.prompt:
        yield Problem("prompts", "can't be combined with prompt; put it in front of each")
    if job.plot is not None and (job.seeds or job.prompts):
        yield Problem("plot", f"can't be combined with {'prompts' if job.prompts else 'seeds'}; make it an axis")


def _extensions(job: Generation) -> Iterator[Problem]:
    for index, unit in enumerate(job.controlnet or ()):
        path = f"controlnet[{index}]"
        if not unit.is_on:
            continue
        if unit.model in {None, "None"} and not (unit.module or "").startswith(("reference", "revision")):
            yield Problem(f"{path}.model", "is missing: without a model the unit does nothing")
        if unit.image is None and isinstance(job, Txt2Img):
            yield Problem(f"{path}.image", "is missing: without a picture the unit does nothing")
    for index, detailer in enumerate(job.adetailer or ()):
        if detailer.enabled is not False and detailer.model in {None, "None"}:
            yield Problem(f"adetailer[{index}].model", "is missing: without a model the pass does nothing")


def _start(job: Img2Img) -> Iterator[Problem]:
    if len(job.init_images) > 1 and isinstance(job, Inpaint):
        yield Problem("init_images", "must be one picture when there is a mask")


def _mask(job: Inpaint) -> Iterator[Problem]:
    if job.mask is None and job.outpaint is None:
        yield Problem("mask", "is missing: white is what is made anew (or send outpaint)")
    if job.outpaint is not None:
        sides = job.outpaint
        if not any((sides.left, sides.right, sides.top, sides.bottom)):
            yield Problem("outpaint", "must grow the picture on one side at least")
        if job.width is not None or job.height is not None:
            yield Problem("outpaint", "can't be combined with width and height: the size follows from the picture")


def _upscale(job: Upscale) -> Iterator[Problem]:
    sized = job.upscaling_resize_w is not None or job.upscaling_resize_h is not None
    if sized and job.upscaling_resize is not None and job.resize_mode is None:
        yield Problem("upscaling_resize", "can't be combined with a size; send one of them")
    if (sized or job.resize_mode == 1) and (job.upscaling_resize_w is None or job.upscaling_resize_h is None):
        missing = "upscaling_resize_h" if job.upscaling_resize_h is None else "upscaling_resize_w"
        yield Problem(missing, "is missing: a size needs both sides")
    if job.upscaler_2 is not None and not job.extras_upscaler_2_visibility:
        yield Problem("extras_upscaler_2_visibility", "is missing: without it upscaler_2 does nothing")


def _samplers(job: Generation) -> Iterator[Problem]:
    if _is_unipc(job.sampler_name) and job.steps is not None and job.steps < UNIPC_STEPS:
        yield Problem("steps", f"UniPC needs at least {UNIPC_STEPS} steps, not {job.steps}")
    if not isinstance(job, Txt2Img):
        return
    second = job.hr_second_pass_steps or job.steps
    if job.enable_hr and _is_unipc(job.hr_sampler_name) and second is not None and second < UNIPC_STEPS:
        field = "hr_second_pass_steps" if job.hr_second_pass_steps else "steps"
        yield Problem(field, f"UniPC needs at least {UNIPC_STEPS} steps, not {second}")


def _is_unipc(sampler: str | None) -> bool:
    return sampler is not None and "unipc" in plain(sampler)


def _refiner(job: Generation) -> Iterator[Problem]:
    if job.refiner_checkpoint is not None and job.refiner_switch_at is None:
        yield Problem(
            "refiner_switch_at",
            "is needed with refiner_checkpoint (0.8 is usual): without it the refiner draws from the first step",
        )


def _hires(job: Txt2Img, limits: Limits) -> Iterator[Problem]:
    second = second_size(job)
    if second is None:
        return
    if job.denoising_strength is None:
        yield Problem("denoising_strength", "is needed with enable_hr (0.3 to 0.7 is usual)")
    if second.work.pixels > limits.max_pixels:
        size = f"{second.work.width}x{second.work.height}"
        field = "hr_resize_x" if job.hr_resize_x else "hr_resize_y" if job.hr_resize_y else "hr_scale"
        yield Problem(
            field, f"makes a picture of {size}; at most {limits.max_pixels} pixels are allowed (this endpoint)"
        )


def _output(job: Job) -> Iterator[Problem]:
    if job.output.lossless and job.output.format == "jpeg":
        yield Problem("output.lossless", "jpeg is never lossless; use png or webp")
