"""Results of generation: the pictures of one request, those of a job's parts merged, and the operator's image check.

Pure but for the check itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.errors import ImageRefused
from worker.judges.moderation import DONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.contract.parse.plot_cells import PlotCell
    from worker.contract.types.job import Job
    from worker.errors import WorkerError
    from worker.images.formats.picture import Picture
    from worker.jobs.job_context import JobContext
    from worker.jobs.picture_facts import ImageFacts
    from worker.judges.moderation import ModerationFilter


@dataclass(frozen=True, slots=True)
class Generated:
    """Pictures, and the facts about how they were made.

    Attributes:
        applied: The models and values that made them, as the answer's `applied`.
        info: A1111's own `info`.
        sheet: All pictures of a plot, laid out.
        facts: About each picture, in order.
        checks: The findings of the operator's image check; None: there is no check.
        cached: Where the pictures come from the result cache: ``{key, made_at, saved_ms}``.
        parts: The outcome of each part of a job with several prompts or seeds.
        judging: Fields of the answer to a job with `accept`.
        is_whole: False where the client has ended it early.
    """

    pictures: tuple[Picture, ...]
    seeds: tuple[int, ...]
    applied: dict[str, Any]
    info: Mapping[str, Any]
    parameters: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    facts: tuple[ImageFacts, ...] = ()
    extras: tuple[Picture, ...] = field(default=())
    parts: tuple[dict[str, Any], ...] = ()
    checks: tuple[dict[str, Any], ...] | None = None
    cached: dict[str, Any] | None = None
    judging: Mapping[str, Any] = field(default_factory=dict)
    sheet: Picture | None = None
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class PartResult:
    """One piece: where in the job it comes from, and its pictures, its error, or first these and then that.

    Attributes:
        cell: Of a plot: which one.
    """

    path: str
    result: Generated | None = None
    error: WorkerError | None = None
    cell: PlotCell | None = None

    def followed(self, more: PartResult) -> PartResult:
        """Return this piece with what was made after it in a request of its own."""
        results = [part.result for part in (self, more) if part.result is not None]
        return replace(self, result=_followed(results) if results else None, error=more.error)


def _followed(results: Sequence[Generated]) -> Generated:
    """Return several requests' results as what one request for all of it would have given."""
    infos = [result.info for result in results]
    lists = {name for info in infos for name, value in info.items() if isinstance(value, list) and name in _PER_PICTURE}
    merged = {name: [item for info in infos for item in info.get(name, ())] for name in lists}
    return replace(
        results[0],
        pictures=tuple(picture for result in results for picture in result.pictures),
        seeds=tuple(seed for result in results for seed in result.seeds),
        facts=tuple(fact for result in results for fact in result.facts),
        warnings=tuple(dict.fromkeys(warning for result in results for warning in result.warnings)),
        extras=tuple(picture for result in results for picture in result.extras),
        info={**results[0].info, **merged},
        checks=_checks(("", result) for result in results),
        cached=results[0].cached if all(result.cached for result in results) else None,
        is_whole=all(result.is_whole for result in results),
    )


def _checks(results: Iterable[tuple[str, Generated]]) -> tuple[dict[str, Any], ...] | None:
    found = [(path, result.checks) for path, result in results if result.checks is not None]
    if not found:
        return None
    return tuple({**({"path": path} if path else {}), **check} for path, checks in found for check in checks)


_PER_PICTURE = frozenset({"all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds", "infotexts"})
"""The keys of the WebUI's `info` that list something for each picture."""


def merge_results(parts: Sequence[PartResult]) -> Generated:
    """Return the pictures of all pieces in order; a piece that failed leaves the others.

    `applied`, `info` and `parameters` are those of the first piece that worked; each piece's own stand in `parts`.

    Raises:
        WorkerError: every piece failed, or the only one; the first one's error.
    """
    results = [part.result for part in parts if part.result is not None]
    if not results:
        raise next(part.error for part in parts if part.error is not None)
    if len(parts) == 1 and parts[0].error is None and parts[0].cell is None:
        return results[0]
    told: list[dict[str, Any]] = []
    at = 0
    for part in parts:
        count = len(part.result.pictures) if part.result is not None else 0
        entry: dict[str, Any] = {"path": part.path, "images": list(range(at, at + count))}
        if part.cell is not None:
            entry["cell"] = dict(part.cell.values)
        if part.result is not None:
            entry |= {
                "applied": part.result.applied,
                "info": dict(part.result.info),
                "parameters": dict(part.result.parameters),
                **({"cached": part.result.cached} if part.result.cached else {}),
            }
        if part.error is not None:
            entry["error"] = part.error.to_answer()
        told.append(entry)
        at += count
    failed = [part for part in parts if part.error is not None]
    return replace(
        results[0],
        pictures=tuple(picture for result in results for picture in result.pictures),
        seeds=tuple(seed for result in results for seed in result.seeds),
        facts=tuple(fact for result in results for fact in result.facts),
        warnings=(
            *dict.fromkeys(warning for result in results for warning in result.warnings),
            *(f"{part.path} failed: {part.error.message}" for part in failed if part.error is not None),
        ),
        extras=tuple(picture for result in results for picture in result.extras),
        parts=tuple(told),
        cached=None,
        is_whole=all(result.is_whole for result in results),
        checks=_checks((part.path, part.result) for part in parts if part.result is not None),
    )


def select_pictures(result: Generated, places: Sequence[int]) -> Generated:
    """Return `result` with only the pictures at `places`."""
    count = len(result.pictures)
    listed = {
        name: [value[place] for place in places]
        for name, value in result.info.items()
        if name in _PER_PICTURE and isinstance(value, list) and len(value) == count
    }
    return replace(
        result,
        pictures=tuple(result.pictures[place] for place in places),
        seeds=tuple(result.seeds[place] for place in places if place < len(result.seeds)),
        facts=tuple(result.facts[place] for place in places if place < len(result.facts)),
        info={**result.info, **listed},
        extras=(),
    )


def apply_image_check(gate: ModerationFilter, result: Generated) -> Generated:
    """Return `result` with the pictures that the operator's image check lets pass, perhaps none. Blocking.

    Args:
        gate: The operator's.
        result: What was made.

    Raises:
        ImageCheckFailed: the check did not work.
    """
    verdicts = gate.apply(result.pictures)
    seeds = [*result.seeds, *[None] * (len(verdicts) - len(result.seeds))]
    checks: list[dict[str, Any]] = [
        {"seed": seed, "action": DONE[gate.action], "label": one.label, "score": round(one.score, 4)}
        for one, seed in zip(verdicts, seeds, strict=False)
        if one.label is not None
    ]
    kept = [index for index, one in enumerate(verdicts) if one.picture is not None]
    refused = len(verdicts) - len(kept)
    said = (f"{refused} of {len(verdicts)} pictures were refused by the image check",) if refused else ()
    return replace(
        result,
        pictures=tuple(one.picture for one in verdicts if one.picture is not None),
        seeds=tuple(result.seeds[index] for index in kept if index < len(result.seeds)),
        facts=tuple(result.facts[index] for index in kept if index < len(result.facts)),
        extras=(),
        checks=tuple(checks),
        warnings=(*result.warnings, *said),
    )


def raise_if_all_refused(result: Generated) -> None:
    """Raise ImageRefused where the check has left nothing to deliver."""
    if result.checks and not result.pictures:
        which = "every picture" if len(result.checks) > 1 else "the picture"
        raise ImageRefused(f"the endpoint's image check refused {which}", details={"checks": list(result.checks)})


def answer_without_pictures(job: Job, result: Generated, context: JobContext) -> dict[str, Any]:
    """Return the answer to a job that makes pictures, before these are delivered into it."""
    ended = context.interruption.is_ended and result.is_whole
    early = [f"ended early by the client: {len(result.pictures)} pictures were made by then"] if ended else []
    return {
        "images": [],
        "pictures": [one.row(index) for index, one in enumerate(result.facts)],
        "seeds": list(result.seeds),
        "applied": result.applied,
        "info": dict(result.info),
        "parameters": dict(result.parameters),
        "phase_ms": {},
        "warnings": [*early, *job.warnings, *result.warnings],
        "worker": context.worker,
        **({"parts": list(result.parts)} if result.parts else {}),
        **({"checks": list(result.checks)} if result.checks is not None else {}),
        **({"cached": result.cached} if result.cached else {}),
        **result.judging,
    }
