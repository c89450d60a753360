"""The pictures that a job makes: how many, the seeds that they use up, and the job that makes one of them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PER_JOB = ("n_iter", "batch_size", "num_images")
_SEVERAL = (*_PER_JOB, "seeds", "prompts")
_OF_THE_FIRST_STAGE = (*_SEVERAL, "accept", "seed")
_TAKES_THE_PLACE_OF = {"seed": "seeds", "seeds": "seed", "prompts": "prompt"}
TRIES_PER_ACCEPTED = 4
"""Pictures that a job with `accept` makes at most for each that it wants, where it does not say."""
_WHOLE = re.compile(r"\s*(-?[0-9]{1,20})\s*")


class UnclearCount(Exception):
    """A job that does not show how many pictures it makes; the message says where, and what to do."""


def plain_counts(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a job as one for each of its prompts, with the seed and the number of its pictures at the top.

    The first stage of a workflow may say these itself, which means the same, but hides them from whoever counts seeds.

    Raises:
        UnclearCount: a stage that is given by its name says them: only the endpoint knows which one is the first.
    """
    stages = job.get("stages")
    if isinstance(stages, dict):
        for name, fields in stages.items():
            wanted = _OF_THE_FIRST_STAGE if name == job.get("until") else _SEVERAL
            said = [one for one in wanted if isinstance(fields, dict) and fields.get(one) is not None]
            if said:
                raise UnclearCount(f"stages.{name}.{said[0]} belongs at the top of the job: write {said[0]} there")
    elif isinstance(stages, list) and stages and isinstance(stages[0], dict):
        own = {name: stages[0][name] for name in _OF_THE_FIRST_STAGE if stages[0].get(name) is not None}
        replaced = {_TAKES_THE_PLACE_OF.get(name) for name in own}
        first = {name: value for name, value in stages[0].items() if name not in own}
        kept = {name: value for name, value in job.items() if name not in replaced}
        job = {**kept, **own, "stages": [first, *stages[1:]]}
    prompts = job.get("prompts")
    if not (isinstance(prompts, list) and prompts):
        return [dict(job)]
    shared = {name: value for name, value in job.items() if name != "prompts"}
    return [{**shared, **(part if isinstance(part, dict) else {"prompt": part})} for part in prompts]


def seeds_used(job: Mapping[str, Any]) -> int:
    """Return how many seeds a job uses up, its own and those that follow."""
    used = 1
    for name in _PER_JOB:
        used *= max(1, whole_number(job.get(name)) or 1)
    accept = job.get("accept")
    if isinstance(accept, dict):
        wanted = whole_number(accept.get("count")) or 1
        used = max(used, whole_number(accept.get("at_most")) or TRIES_PER_ACCEPTED * wanted)
    return used * max(1, _start_pictures(job))


def job_of_one(job: Mapping[str, Any], seed: int | None) -> dict[str, Any] | None:
    """Return the job that makes one of a job's pictures alone; None where it can't be told which one.

    Args:
        job: As it was sent.
        seed: The job's seed for this picture; None: unknown.
    """
    try:
        parts = plain_counts(job)
    except UnclearCount:
        return None
    if len(parts) > 1 or _start_pictures(job) > 1:
        return None
    alone = {name: value for name, value in parts[0].items() if name not in (*_SEVERAL, "accept")}
    if seed is not None:
        return {**alone, "seed": seed}
    return alone if alone == parts[0] else None


def job_to_the_end(job: Mapping[str, Any], seed: int | None) -> dict[str, Any] | None:
    """Return the job that makes one of a job's pictures and runs the stages behind its `until`; None where none can.

    Args:
        job: As the picture's JSON tells it.
        seed: Of the picture: which one it is, where the job makes several.
    """
    if "until" not in job:
        return None
    alone = job_of_one(job, None) or job_of_one(job, seed)
    return None if alone is None else {name: value for name, value in alone.items() if name != "until"}


def whole_number(value: object) -> int | None:
    """Return the whole number that is written as a number or a text, None for anything else."""
    found = _WHOLE.fullmatch(value if isinstance(value, str) else str(value)) if type(value) in (int, str) else None
    return int(found[1]) if found else None


def _start_pictures(job: Mapping[str, Any]) -> int:
    images = job.get("init_images")
    return len(images) if isinstance(images, list) else 0
