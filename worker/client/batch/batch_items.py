"""The single jobs of a batch, each with a seed and an identity that stay the same whenever the batch is run. Pure."""

from __future__ import annotations

import hashlib
import itertools
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.client.batch.batch_plan import BatchPlan, InvalidPlan
from worker.client.batch.picture_jobs import UnclearCount, plain_counts, seeds_used, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SEEDS = 2**32
_KEY_LENGTH = 16
_COUNTED = 10_000
_SEEDLESS = ("upscale",)


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One job of a batch.

    Attributes:
        key: Its identity: follows from all that shapes its pictures.
        row: Place of its job in the plan.
        job: Its input.
        source: The candidate that it finishes, None where it makes one.
    """

    key: str
    row: int
    job: Mapping[str, Any]
    source: str | None = None


def item_key(job: Mapping[str, Any], source: str | None = None) -> str:
    """Return the identity of a job: the way its pictures are delivered is no part of it."""
    shaping = {name: value for name, value in job.items() if name != "output"}
    text = json.dumps([shaping, source], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_LENGTH]


def check_counts(plan: BatchPlan, count: int | None) -> None:
    """Raise InvalidPlan where a job can't be made so often: its seeds are listed, or hidden, or too few."""
    if count is not None and count > SEEDS:
        raise InvalidPlan(f"a job can be made {SEEDS} times, once for each seed, not {count} times")
    for number, job in enumerate(plan.jobs, start=1):
        try:
            each = plain_counts(job)
        except UnclearCount as error:
            raise InvalidPlan(f"job {number}: {error}") from None
        for one in each:
            if count != 1 and ("seeds" in one or one.get("type") in _SEEDLESS):
                raise InvalidPlan(f"job {number} can be made only once: it lists its seeds, or needs none")
            _seed(one, 0, number)


def count_items(plan: BatchPlan, first_seed: int, count: int) -> int:
    """Return how many jobs `batch_items` yields; of very many it is not checked that no two are equal."""
    most = count * sum(len(plain_counts(job)) for job in plan.jobs)
    return most if most > _COUNTED else sum(1 for _ in batch_items(plan, first_seed, count))


def batch_items(
    plan: BatchPlan, first_seed: int, count: int | None, is_refused: Callable[[int], bool] = lambda _: False
) -> Iterator[BatchItem]:
    """Yield the jobs of a plan: every job once, then every job with its next seed, and so on.

    Args:
        plan: The jobs; one of several prompts counts as several jobs.
        first_seed: Of jobs that name none; rows of a table start at a place of their own after it.
        count: How often each job is made; None: without end.
        is_refused: Whether a row of the plan is left out from now on.
    """
    plan = BatchPlan([plain for job in plan.jobs for plain in plain_counts(job)], plan.is_table)
    seen = set[str]()
    for copy in itertools.count() if count is None else range(count):
        rows = [row for row in range(len(plan.jobs)) if not is_refused(row)]
        if not rows:
            return
        for row in rows:
            if is_refused(row):
                continue
            job = _with_seed(plan, row, first_seed, copy)
            key = item_key(job)
            if key not in seen:
                seen.add(key)
                yield BatchItem(key, row, job)


def _with_seed(plan: BatchPlan, row: int, first_seed: int, copy: int) -> dict[str, Any]:
    job = dict(plan.jobs[row])
    if "seeds" in job or job.get("type") in _SEEDLESS:
        return job
    start = first_seed
    if plan.is_table:  # by the row's content, so that rows put before it leave its pictures as they are
        start += zlib.crc32(json.dumps(job, sort_keys=True).encode("utf-8", "surrogatepass"))
    return {**job, "seed": (_seed(job, start, row + 1) + copy * seeds_used(job)) % SEEDS}


def _seed(job: Mapping[str, Any], otherwise: int, number: int) -> int:
    given = job.get("seed")
    seed = whole_number(given)
    if given is None or seed == -1:
        return otherwise
    if seed is None or not 0 <= seed < SEEDS:
        raise InvalidPlan(f"job {number}: seed must be a whole number from 0 to {SEEDS - 1}, or -1, not {given!r}")
    return seed
