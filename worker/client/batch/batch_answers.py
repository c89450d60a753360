"""From the answer of a job to its pictures, each with what is known of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FINAL = "final"


@dataclass(frozen=True, slots=True)
class AnsweredPicture:
    """A picture of an answer.

    Attributes:
        image: base64 or a URL.
        seed: None where none was drawn.
        job_seed: The seed that a job of this picture alone has: a stage may add a number to it.
        stage: That made it.
        facts: What the answer tells of it.
        intermediates: Pictures of stages before, as ``(stage, image)``.
    """

    image: str = field(repr=False)
    seed: int | None
    stage: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    intermediates: Sequence[tuple[str, str]] = field(default=(), repr=False)
    job_seed: int | None = None


@dataclass(frozen=True, slots=True)
class AnsweredJob:
    """All of an answer that a batch keeps.

    Attributes:
        pictures: In order.
        judged: What judges said of every picture that was made, delivered or not.
        errors: Of parts that failed.
        is_skipped: Whether the worker has made the pictures before, and has them in its store.
    """

    pictures: Sequence[AnsweredPicture]
    judged: Sequence[Mapping[str, Any]] = ()
    errors: Sequence[str] = ()
    is_skipped: bool = False


def read_job_answer(answer: Mapping[str, Any], job: Mapping[str, Any]) -> AnsweredJob:
    """Return what the answer to `job` tells."""
    parts = _objects(answer.get("parts"))
    if job.get("type") == "continue" and parts:
        pictures = [one for part in parts for one in _pictures(part, FINAL)]
        skipped = any(part.get("status") == "skipped" for part in parts)
        judged = [one for part in parts for one in _judged(part)]
        return AnsweredJob(pictures, judged, _errors(parts), is_skipped=skipped and not pictures)
    stage = str(job.get("until") or FINAL)
    return AnsweredJob(_pictures(answer, stage), _judged(answer), _errors(parts))


def _judged(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what judges said of each picture, of a job with `accept` or of the stages of a workflow."""
    stages = [one for stage in _objects(told.get("stages")) for one in _objects(stage.get("judged"))]
    return _objects(told.get("judged")) or stages


def _pictures(told: Mapping[str, Any], stage: str) -> list[AnsweredPicture]:
    images = [image for image in told.get("images") or () if isinstance(image, str)]
    seeds, rows, judged = told.get("seeds") or [], _objects(told.get("pictures")), _judged(told)
    between = _intermediates(told, len(images))
    checks, keys = told.get("checks") or [], told.get("keys") or []
    offset = _seed_offset(told)
    found = []
    for index, image in enumerate(images):
        row = dict(rows[index]) if index < len(rows) else {}
        document = row.pop("metadata", None)
        if isinstance(document, dict):
            row = {**row, **{("plain_job" if name == "job" else name): value for name, value in document.items()}}
        seed = row.get("seed", seeds[index] if index < len(seeds) else None)
        own = seed if isinstance(seed, int) else None
        job_seed = None if own is None else own - offset
        verdict = next((one for one in judged if one.get("seed") in (seed, job_seed)), None)
        more = {
            "applied": told.get("applied"),
            "judged": verdict,
            "checks": checks[index] if index < len(checks) else None,
            "key": keys[index] if index < len(keys) else None,
        }
        facts = {**{name: value for name, value in more.items() if value is not None}, **row}
        found.append(AnsweredPicture(image, own, stage, facts, between[index], job_seed))
    return found


def _seed_offset(told: Mapping[str, Any]) -> int:
    """Return what the last stage that drew pictures adds to the seed of the job."""
    run = [stage for stage in _objects(told.get("stages")) if not stage.get("skipped") and stage.get("type") != "judge"]
    offset = run[-1].get("seed_offset") if run else None
    return offset if isinstance(offset, int) else 0


def _intermediates(told: Mapping[str, Any], count: int) -> list[list[tuple[str, str]]]:
    """Return the pictures of earlier stages, by the picture that was made of them; the first has those of no other."""
    found: list[list[tuple[str, str]]] = [[] for _ in range(count)]
    for stage in _objects(told.get("stages")):
        images = [image for image in stage.get("images") or () if isinstance(image, str)]
        for index, image in enumerate(images if count else ()):
            found[index if len(images) == count else 0].append((str(stage.get("name", "stage")), image))
    return found


def _errors(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    told = [part["error"] for part in parts if part.get("error")]
    return [str(error.get("error") or error) if isinstance(error, dict) else str(error) for error in told]


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
