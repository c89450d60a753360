"""Reproducibility of a job: sent again, it makes the same pictures if its seed is fixed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.contract.types.job import Generation

if TYPE_CHECKING:
    from worker.contract.types.job import Job


def is_reproducible(job: Job) -> bool:
    """Return whether nothing about the pictures of `job` is left to chance."""
    if not isinstance(job, Generation):
        return True
    if job.subseed_strength and (job.subseed is None or job.subseed < 0):
        return False
    if job.seeds:
        return all(seed >= 0 for seed in job.seeds)
    if job.prompts:
        return all(_is_fixed(part.seed if part.seed is not None else job.seed) for part in job.prompts)
    return _is_fixed(job.seed)


def _is_fixed(seed: int | None) -> bool:
    return seed is not None and seed >= 0
