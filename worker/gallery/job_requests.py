"""The jobs that finish a picture or make it again with other seeds. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from worker.client.batch.picture_jobs import job_of_one, job_to_the_end, whole_number
from worker.contract.expand.from_infotext import job_from

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from worker.gallery.facts import PictureFacts

_LARGEST_REPEAT_SEED = 2**32 - 1
"""The next seed after it is 0; as large as those that a worker draws."""
FINAL = "final"
_CANDIDATE_FOLDERS = ("stage1", "base")
_ONE_OF_SEVERAL = "its job makes several pictures, and does not tell which of them this one is"


class NoSuchJob(Exception):
    """No job can be made for a picture; the message says what its facts lack."""


def finishing_job(facts: PictureFacts, key: str | None) -> dict[str, Any]:
    """Return the job that runs the stages that are left for a picture.

    Args:
        facts: The picture's.
        key: Its key in the store that the worker has too; None: its own job is run again, to the end.

    Raises:
        NoSuchJob: its facts tell of no stages that are left.
    """
    if facts.stage == FINAL:
        raise NoSuchJob("it is a final picture")
    if facts.key or key:
        return {"type": "continue", "keys": [facts.key or key]}
    if facts.request is None:
        raise NoSuchJob("no JSON beside it tells its job")
    if "until" not in facts.request:
        raise NoSuchJob("its job has no stages that are left (no `until`)")
    job = job_to_the_end(facts.request, facts.seed)
    if job is None:
        raise NoSuchJob(_ONE_OF_SEVERAL)
    return job


def repeated_job(facts: PictureFacts, seed: int) -> dict[str, Any]:
    """Return the job that makes one picture as this one with another seed.

    Raises:
        NoSuchJob: neither JSON nor infotext tell how it was made.
    """
    if facts.request is None and not facts.prompt:
        raise NoSuchJob("neither a JSON beside it nor an infotext in it tells how it was made")
    job = facts.request or job_from(facts.prompt, facts.negative_prompt, dict(facts.parameters)).job
    if job.get("type") == "continue":
        raise NoSuchJob("it was finished from a stored picture: choose that one")
    own = whole_number(job.get("seed"))
    if own is not None and facts.seed is not None and job_of_one(job, None) is not None:
        # a stage may add a number to the seed of the job
        seed = (seed - (facts.seed - own)) % (_LARGEST_REPEAT_SEED + 1)
    alone = job_of_one(job, seed)
    if alone is None:
        raise NoSuchJob(_ONE_OF_SEVERAL)
    return alone


def seeds_alike(facts: PictureFacts, others: Iterable[PictureFacts]) -> set[int]:
    """Return the seeds of those pictures that differ from one in their seed alone, and in what it draws."""
    kind = _kind(facts)
    return {
        other.seed
        for other in others
        if other.seed is not None
        and other.checkpoint == facts.checkpoint
        and (other.prompt == facts.prompt or (kind is not None and _kind(other) == kind))
    }


def _kind(facts: PictureFacts) -> dict[str, Any] | None:
    try:
        return repeated_job(facts, facts.seed or 0) | {"seed": 0, "output": None} if facts.request else None
    except NoSuchJob:
        return None


def next_seeds(seed: int, used: Collection[int], count: int) -> list[int]:
    """Return the next `count` seeds after `seed` that are not in `used`."""
    found: list[int] = []
    while len(found) < count:
        seed = seed + 1 if seed < _LARGEST_REPEAT_SEED else 0
        if seed not in used:
            found.append(seed)
    return found


def final_name(name: str) -> str:
    """Return the name, without ending, of the final of a candidate: in `final/` beside or instead of its folder."""
    path = PurePosixPath(name)
    parent = path.parent.parent if path.parent.name in _CANDIDATE_FOLDERS else path.parent
    return str(parent / FINAL / path.stem)


def finished(pictures: Iterable[tuple[str, PictureFacts | None]]) -> set[str]:
    """Return the names of the candidates that have a final: one that names them as source, or one of the same name."""
    names = {name for name, _ in pictures}
    sources = {facts.source for _, facts in pictures if facts is not None and facts.stage == FINAL}
    stems = {str(PurePosixPath(name).with_suffix("")) for name in names}
    return {name for name in names if name in sources or final_name(name) in stems}


def facts_document(facts: PictureFacts, job: Mapping[str, Any], told: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return what is written beside a picture that was made from another one.

    Args:
        facts: Of the other one.
        job: That was sent.
        told: The picture's own row in the answer, {} where there is none.
        more: Further fields.
    """
    known = {
        "prompt": facts.prompt,
        "negative_prompt": facts.negative_prompt,
        "seed": facts.seed,
        "checkpoint": facts.checkpoint,
        "loras": list(facts.loras),
    }
    return {**_known(known), **_known(told), **_known(more), "job": dict(job)}


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and value not in ("", [])}
