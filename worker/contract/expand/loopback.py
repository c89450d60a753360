"""Loopback, a script of the WebUI that feeds a picture back into img2img, as the stages of a workflow. Pure.

Loop i has the seed of the job + i; its denoising strength goes from the job's to the final one along a curve. That is
what A1111 v1.10.1 does, so the pictures are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from worker.contract.types.composed.workflow import Stage, Workflow, start_reference
from worker.contract.types.kinds import Inpaint
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.contract.base.limits import Limits
    from worker.contract.types.kinds import Img2Img

Curve = Literal["aggressive", "linear", "lazy"]
MOST_LOOPS = 32
_DEFAULT_STRENGTH = 0.75
"""Denoising strength of the WebUI's img2img."""
_KEEPS_WHAT_IS_THERE = 1
"""`inpainting_fill` of every loop but the first: it begins with the picture of the one before."""
_ALONE = ("accept", "plot", "prompts", "seeds", "outpaint", "ultimate_upscale")
_OF_THE_FIRST = ("init_images", "n_iter", "batch_size", "seed", "seeds", "resize_mode")
_OF_THE_WHOLE = ("output", "timeout_s", "cache", "stream")


@dataclass(frozen=True, slots=True)
class Loops:
    """The arguments of the script.

    Attributes:
        count: How often the picture goes through img2img.
        final: Denoising strength of the last loop.
        curve: Its way there from the job's own.
        path: Where the client wrote them.
    """

    count: int
    final: float
    curve: Curve
    path: str

    def strength(self, first: float, loop: int) -> float:
        """Return the denoising strength of a loop, counted from 0; `first` is that of the first one."""
        if loop == 0 or self.count == 1:
            return first
        way = loop / (self.count - 1)
        if self.curve == "aggressive":
            way = math.sin(way * math.pi / 2)
        elif self.curve == "lazy":
            way = 1 - math.cos(way * math.pi / 2)
        return first + (self.final - first) * way


def loop_problems(job: Img2Img, loops: Loops, limits: Limits) -> Iterator[Problem]:
    """Yield what keeps `job` from being done in loops."""
    if len(job.init_images) > 1:
        yield Problem(job.path("init_images"), "must be one picture for Loopback")
    for name in _ALONE:
        if getattr(job, name, None) is not None:
            yield Problem(job.path(name), "can't be combined with Loopback; send a workflow with its stages")
    if _shows_each(job) and loops.count > limits.max_images:
        most = limits.max_images
        yield Problem(loops.path, f"makes {loops.count} pictures; at most {most} are allowed (this endpoint)")


def as_workflow(job: Img2Img, loops: Loops) -> Workflow:
    """Return the workflow that does the job in loops: one img2img stage each, from the picture of the one before.

    Args:
        job: As its client sent it, without mistakes.
        loops: See `loop_problems` for those that it can't be done in.
    """
    first = job.denoising_strength if job.denoising_strength is not None else _DEFAULT_STRENGTH
    names = [f"loop-{number + 1}" for number in range(loops.count)]
    stages = [
        Stage(
            name,
            loops.path,
            _loop(job, loops.strength(first, number), names[number - 1] if number else None, loops),
            names[number - 1] if number else None,
            seed_offset=number,
            own=frozenset({"denoising_strength"}),
        )
        for number, name in enumerate(names)
    ]
    shown = names[:-1] if _shows_each(job) else None
    output = job.output.model_copy(update={"intermediates": shown or None})
    given = {name: getattr(job, name) for name in _OF_THE_WHOLE if getattr(job, name) is not None}
    workflow = Workflow.model_construct(type="workflow", **{**given, "output": output})
    workflow.planned(stages, {"stages": [_written(stage) for stage in stages]})
    told = ["batch_size is ignored: Loopback makes one picture after the other"] if (job.batch_size or 1) > 1 else []
    if (job.override_settings or {}).get("img2img_color_correction"):
        told.append("img2img_color_correction takes each loop's own start picture for the colours, not the first one's")
    workflow.remember(warnings=(*job.warnings, *told), written=job.written, base_models=job.base_models)
    return workflow


def _shows_each(job: Img2Img) -> bool:
    """Return whether the pictures of all loops are wanted: the script shows them where there is one batch."""
    return (job.n_iter or 1) == 1


def _loop(job: Img2Img, strength: float, before: str | None, loops: Loops) -> Img2Img:
    changes: dict[str, Any] = {"denoising_strength": strength, "batch_size": None}
    if before is None:
        batches = job.n_iter or 1
        if batches > 1 and job.seed is not None and job.seed >= 0:
            seeds = [job.seed + loops.count * batch for batch in range(batches)]
            changes |= {"seeds": seeds, "seed": None, "n_iter": None}
    else:
        changes |= {**dict.fromkeys(_OF_THE_FIRST), "init_images": [start_reference(before)]}
        if isinstance(job, Inpaint):
            changes["inpainting_fill"] = _KEEPS_WHAT_IS_THERE
    return job.changed(changes, {"denoising_strength": job.path("denoising_strength")})


def _written(stage: Stage) -> dict[str, Any]:
    """Return a stage as a client would write it."""
    fields = stage.job.model_dump(mode="json", exclude=set(_OF_THE_WHOLE), exclude_unset=True, exclude_none=True)
    return {**fields, "name": stage.name, "type": stage.job.kind, "seed_offset": stage.seed_offset}
