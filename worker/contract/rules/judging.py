"""Rules on judging: what `accept` can't be combined with, and criteria that ask for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.contract.types.kinds import Img2Img
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.contract.base.limits import Limits
    from worker.contract.types.composed.acceptance import Acceptance, Criteria
    from worker.contract.types.job import Generation

_ALONE = ("seeds", "prompts", "n_iter", "plot")


def problems_of(job: Generation, accept: Acceptance, limits: Limits) -> Iterator[Problem]:
    """Yield the problems that `accept` makes together with the other fields of `job`."""
    path, wanted, most = job.path("accept"), accept.wanted, accept.most
    yield from criteria_problems(accept, path)
    if wanted > limits.max_images:
        yield Problem(f"{path}.count", f"must be at most {limits.max_images} on this endpoint, not {wanted}")
    if most < wanted:
        yield Problem(f"{path}.at_most", f"must be at least count ({wanted}), not {most}")
    for name in _ALONE:
        if getattr(job, name) is not None:
            yield Problem(job.path(name), "can't be combined with accept, which makes picture after picture itself")
    if isinstance(job, Img2Img) and len(job.init_images) > 1:
        yield Problem(job.path("init_images"), "must be one picture with accept")


def criteria_problems(criteria: Criteria, path: str) -> Iterator[Problem]:
    """Yield the problems of criteria."""
    if criteria.is_empty:
        yield Problem(path, "asks for nothing: name face, quality, judges or distinct")
    names = [one.name for one in criteria.judges or ()]
    for index, name in enumerate(names):
        place = ".".join(part for part in (path, f"judges[{index}].name") if part)
        if name in ("face", "quality"):
            yield Problem(place, f"must not be {name}, which is a field of its own")
        elif name in names[:index]:
            yield Problem(place, f"names {name!r} a second time")
