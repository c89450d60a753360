"""The pieces of a job that asked for several things, as one result. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from worker.errors import WorkerError
    from worker.stages.generate import Generated


@dataclass(frozen=True, slots=True)
class Part:
    """One piece: where in the job it comes from, and its pictures, its error, or first these and then that."""

    path: str
    result: Generated | None = None
    error: WorkerError | None = None

    def followed(self, more: Part) -> Part:
        """Return this piece with what was made after it in a request of its own."""
        results = [part.result for part in (self, more) if part.result is not None]
        return Part(self.path, _followed(results) if results else None, more.error)


def _followed(results: Sequence[Generated]) -> Generated:
    """Return several requests' results as what one request for all of it would have given."""
    infos = [result.info for result in results]
    lists = {name for info in infos for name, value in info.items() if isinstance(value, list) and name in _PER_PICTURE}
    merged = {name: [item for info in infos for item in info.get(name, ())] for name in lists}
    return replace(
        results[0],
        pictures=tuple(picture for result in results for picture in result.pictures),
        seeds=tuple(seed for result in results for seed in result.seeds),
        warnings=tuple(dict.fromkeys(warning for result in results for warning in result.warnings)),
        extras=tuple(picture for result in results for picture in result.extras),
        info={**results[0].info, **merged},
        checks=_checks(("", result) for result in results),
    )


def _checks(results: Iterable[tuple[str, Generated]]) -> tuple[dict[str, Any], ...] | None:
    found = [(path, result.checks) for path, result in results if result.checks is not None]
    if not found:
        return None
    return tuple({**({"path": path} if path else {}), **check} for path, checks in found for check in checks)


_PER_PICTURE = frozenset({"all_prompts", "all_negative_prompts", "all_seeds", "all_subseeds", "infotexts"})
"""What the WebUI's `info` lists for each picture."""


def join(parts: Sequence[Part]) -> Generated:
    """Return the pictures of all pieces in order; a piece that failed leaves the others.

    `applied`, `info` and `parameters` are those of the first piece that worked; each piece's own stand in `parts`.

    Raises:
        WorkerError: every piece failed, or the only one; the first one's error.
    """
    results = [part.result for part in parts if part.result is not None]
    if not results:
        raise next(part.error for part in parts if part.error is not None)
    if len(parts) == 1 and parts[0].error is None:
        return results[0]
    told: list[dict[str, Any]] = []
    at = 0
    for part in parts:
        count = len(part.result.pictures) if part.result is not None else 0
        entry: dict[str, Any] = {"path": part.path, "images": list(range(at, at + count))}
        if part.result is not None:
            entry |= {"applied": part.result.applied, "parameters": dict(part.result.parameters)}
        if part.error is not None:
            entry["error"] = part.error.to_answer()
        told.append(entry)
        at += count
    failed = [part for part in parts if part.error is not None]
    return replace(
        results[0],
        pictures=tuple(picture for result in results for picture in result.pictures),
        seeds=tuple(seed for result in results for seed in result.seeds),
        warnings=(
            *dict.fromkeys(warning for result in results for warning in result.warnings),
            *(f"{part.path} failed: {part.error.message}" for part in failed if part.error is not None),
        ),
        extras=tuple(picture for result in results for picture in result.extras),
        parts=tuple(told),
        checks=_checks((part.path, part.result) for part in parts if part.result is not None),
    )
