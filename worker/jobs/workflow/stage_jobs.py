"""From a stage and one picture to the job that the stage means for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any

from PIL import Image

from worker.contract.rules.field_rules import first_size
from worker.contract.rules.sizes import LATENT, Size
from worker.contract.types.job import Generation
from worker.contract.types.kinds import JudgeImages, Upscale
from worker.webui.request.parameters import DEFAULT_STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.types.composed.workflow import Stage
    from worker.contract.types.job import Job
    from worker.images.formats.picture import Picture
    from worker.jobs.picture_facts import ImageFacts

COPIED_FIELDS = ("prompt", "negative_prompt", "loras")
"""Fields that may differ from picture to picture, and that later stages take over from the first."""
_UPSCALE_STEPS = 2
"""Cost of an upscaler, as sampling steps of the picture that it makes."""
_JUDGE_STEPS = 0.1
"""Cost of a look at a picture, likewise."""


@dataclass(frozen=True, slots=True)
class StagePicture:
    """A picture on its way through the stages.

    Attributes:
        picture: As the last stage made it.
        seed: That it has in the workflow: of its first stage, without that stage's offset.
        number: Its place among the pictures of the first stage.
        copied: The fields of `COPIED_FIELDS` as they were for this picture, typed.
        judged: What the judges of an earlier stage said about it.
        facts: How the stages so far made it; None: they were run by another job.
    """

    picture: Picture = field(repr=False)
    seed: int
    number: int
    copied: Mapping[str, Any] = field(default_factory=dict, repr=False)
    judged: Mapping[str, Any] | None = field(default=None, repr=False)
    facts: ImageFacts | None = field(default=None, repr=False)


def later_job(stage: Stage, picture: StagePicture) -> Job:
    """Return the job of a stage for one picture of an earlier one."""
    job = stage.job
    changes: dict[str, Any] = {}
    fields = type(job).model_fields
    if isinstance(job, Generation) or getattr(job, "tiles", None) is not None:
        changes = {name: value for name, value in picture.copied.items() if name in fields and name not in stage.own}
    if getattr(job, "seeds", None):
        seeds: list[int] = job.seeds  # type: ignore[attr-defined]  # asked above
        changes["seeds"] = [one + stage.seed_offset if one >= 0 else one for one in seeds]
    elif "seed" in fields:
        own = job.seed if "seed" in stage.own else None  # type: ignore[attr-defined]  # asked above
        base = picture.seed if own is None or own < 0 else own + picture.number
        changes["seed"] = base + stage.seed_offset
    if stage.scale is not None:
        changes |= scaled(Size(picture.picture.width, picture.picture.height), stage.scale)
    return job.changed(changes)


def first_job(stage: Stage, seed: int | None) -> Generation:
    """Return the job of a stage that begins with nothing, or with pictures of the client's.

    Args:
        stage: The first that is run.
        seed: The workflow's; None: the stage's own seeds.
    """
    job = stage.job
    if not isinstance(job, Generation):
        raise TypeError(type(job))
    if seed is not None:
        return job.changed({"seed": seed + stage.seed_offset})
    if job.seeds and stage.seed_offset:
        return job.changed({"seeds": [one + stage.seed_offset if one >= 0 else one for one in job.seeds]})
    return job


def scaled(size: Size, scale: float) -> dict[str, int]:
    """Return the field that makes an img2img job of a picture's size times `scale`: the other side follows from it."""
    name, side = ("width", size.width) if size.width <= size.height else ("height", size.height)
    return {name: max(LATENT, round(side * scale / LATENT) * LATENT)}


def expected_size(stage: Stage, start: Size | None) -> Size:
    """Return the size of a stage's pictures, as far as the job tells; `start` is that of the picture it begins with."""
    job = stage.job
    if isinstance(job, JudgeImages):
        return start or Size(512, 512)
    if isinstance(job, Upscale):
        if job.upscaling_resize_w is not None and job.upscaling_resize_h is not None:
            return Size(job.upscaling_resize_w, job.upscaling_resize_h)
        factor = job.upscaling_resize or 2.0
        begins = start or Size(512, 512)
        return Size(round(begins.width * factor), round(begins.height * factor))
    if not isinstance(job, Generation):
        raise TypeError(type(job))
    if start is None or job.width is not None or job.height is not None:
        return first_size(job)
    factor = stage.scale or 1.0
    return Size(_latent(start.width * factor), _latent(start.height * factor))


def cost_of(stage: Stage, size: Size, pictures: int) -> float:
    """Return what a stage costs: sampling steps x megapixels of all its pictures."""
    job = stage.job
    tiles = getattr(job, "tiles", None)
    steps = getattr(job, "steps", None) or DEFAULT_STEPS
    if isinstance(job, JudgeImages):
        steps = _JUDGE_STEPS
    elif isinstance(job, Upscale):
        steps = _UPSCALE_STEPS if tiles is None else steps * _strength(tiles.denoising_strength)
    elif stage.source is not None:
        steps = steps * _strength(getattr(job, "denoising_strength", None))
    return max(1, pictures) * steps * size.pixels / 1_000_000


def _strength(value: float | None) -> float:
    return 0.5 if value is None else max(0.05, value)


def _latent(side: float) -> int:
    return max(LATENT, round(side / LATENT) * LATENT)


def blank_picture(size: Size) -> bytes:
    """Return a PNG of that size which stands, in a dry run, for a picture that is still to be made."""
    buffer = BytesIO()
    Image.new("RGB", (size.width, size.height), "grey").save(buffer, "PNG", compress_level=1)  # in half the time
    return buffer.getvalue()
