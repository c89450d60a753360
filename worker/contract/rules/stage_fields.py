"""Fields of a workflow's stages: those of their kind of job, and those that they take over from the whole. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.contract.types.composed.acceptance import Criteria
from worker.contract.types.composed.workflow import StageFields, start_reference
from worker.contract.types.job import Generation, Job
from worker.contract.types.kinds import KINDS, UPSCALE_WORDS, Img2Img, JudgeImages, Upscale

STAGE_KINDS = ("txt2img", "img2img", "inpaint", "upscale", "judge")
CONTINUED = "pictures"
"""The name by which the first stage of a continuation refers to the pictures that it is given."""
_PLACING = frozenset({"name", "type", "from", "enabled", "seed_offset"})
_PLACING_OF = {"judge": _PLACING | {"keep"}, "img2img": _PLACING | {"scale"}, "inpaint": _PLACING | {"scale"}}
"""Kind of stage → its fields that are none of its job, where it has others than `_PLACING`."""
OF_THE_WHOLE = frozenset(Job.model_fields) - {"on_mismatch"} | {"stream"}
OF_THE_FIRST = frozenset(
    {"width", "height", "batch_size", "n_iter", "seeds", "prompts", "wildcards", "dynamic_prompts", "init_images"}
    | {"image", "mask", "outpaint", "pool", "accept"}
)
"""Fields that decide on how many pictures there are and how large: a later stage takes both from its pictures."""
_INSTEAD_OF = {
    "seed": ("seeds",),
    "seeds": ("seed",),
    "prompt": ("prompts",),
    "prompts": ("prompt",),
    "scale": ("width", "height"),
}
"""Field that a stage gives itself → defaults that it takes the place of."""
BROUGHT = frozenset({"init_images", "image"})
_OTHER_NAMES = frozenset({"sampler_index", "dynamic_prompts", "alwayson_scripts", "script_name", "script_args"})
IMG2IMG_UPSCALER = "upscaler_for_img2img"


def placing_fields(kind: str | None) -> frozenset[str]:
    """Return the fields of a stage that are none of its job."""
    return _PLACING_OF.get(kind or "", _PLACING)


def stage_job_fields(
    own: Mapping[str, Any], kind: str, defaults: Mapping[str, Any], *, source: str | None
) -> dict[str, Any]:
    """Return the raw job of a stage: its own fields over those defaults of the workflow that its kind has.

    Args:
        own: The stage as it was written.
        kind: Its kind of job.
        defaults: Fields of the whole job that its stages take over.
        source: The stage whose pictures it begins with.
    """
    readable = readable_fields(kind, tiled="tiles" in own)
    taken = {
        name: value
        for name, value in defaults.items()
        if name in readable and (source is None or name not in OF_THE_FIRST)
    }
    for name in own:
        for other in _INSTEAD_OF.get(name, ()):
            taken.pop(other, None)
    raw = {**taken, **{name: value for name, value in own.items() if name not in placing_fields(kind)}}
    for name in OF_THE_WHOLE:
        raw.pop(name, None)
    if KINDS[kind] is JudgeImages:
        raw["images"] = [start_reference(source or CONTINUED)]
    if issubclass(KINDS[kind], Img2Img):
        if "upscaler" in raw and "tiles" not in raw:
            options = raw.get("override_settings")
            kept = options if isinstance(options, dict) else {}
            raw["override_settings"] = {IMG2IMG_UPSCALER: raw.pop("upscaler"), **kept}
        if source is not None:
            raw.setdefault("init_images", [start_reference(source)])
    elif KINDS[kind] is Upscale and source is not None:
        raw.setdefault("image", start_reference(source))
    return raw


def name_of(fields: object) -> str | None:
    """Return the name that a stage gives itself; one without a letter counts as none, as everywhere."""
    name = fields.get("name") if isinstance(fields, Mapping) else None
    return name if isinstance(name, str) and name.strip() else None


def seeds_of(job: Job) -> list[int]:
    """Return the seeds that a job gives itself."""
    seeds = [getattr(job, "seed", None), *(getattr(job, "seeds", None) or ())]
    return [seed for seed in seeds if seed is not None]


def read_placing(own: Mapping[str, Any], kind: str) -> StageFields | None:
    """Return the fields of a stage that are none of its job, None where one is wrong."""
    fields = {name: own[name] for name in own.keys() & placing_fields(kind)}
    if name_of(own) is None:
        fields.pop("name", None)
    try:
        return StageFields.model_validate(fields)
    except ValueError:
        return None


def readable_fields(kind: str, *, tiled: bool = True) -> frozenset[str]:
    """Return the names under which a kind of job has fields; an upscale job draws nothing but tiles."""
    if KINDS[kind] is JudgeImages:
        return frozenset(Criteria.model_fields)
    names = frozenset(KINDS[kind].model_fields) - OF_THE_WHOLE | {"on_mismatch"}
    if KINDS[kind] is not Upscale:
        return names | _OTHER_NAMES
    drawn = frozenset() if tiled else frozenset(Generation.model_fields) - {"on_mismatch"}
    return (names - drawn) | (UPSCALE_WORDS.keys() - {"width", "height", "scale"})


def pictures_left_out(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return a workflow as it was written without the pictures that its first stage brings: they have been used."""
    kept = {name: value for name, value in definition.items() if name not in BROUGHT}
    stages = [{name: value for name, value in stage.items() if name not in BROUGHT} for stage in kept.get("stages", ())]
    return {**kept, "stages": stages}
