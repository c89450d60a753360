"""Recommendations of a checkpoint's publisher, for the fields that the client left open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.contract.types.job import Txt2Img
from worker.contract.types.model_ref import ModelRef
from worker.errors import WorkerError

if TYPE_CHECKING:
    from worker.contract.types.job import Generation
    from worker.models.sources.model_catalog import Recommended
    from worker.models.store import ModelStore


def advice(job: Generation, recommended: Recommended) -> dict[str, Any]:
    """Return the fields that `recommended` adds to `job`; the client's own values stay."""
    changes: dict[str, Any] = {}
    if job.clip_skip is None and recommended.clip_skip is not None:
        changes["clip_skip"] = recommended.clip_skip
    if job.sampler_name is None and recommended.sampler is not None:
        changes["sampler_name"] = recommended.sampler
    unsized = isinstance(job, Txt2Img) and job.width is None and job.height is None
    if unsized and recommended.width is not None and recommended.height is not None:
        changes |= {"width": recommended.width, "height": recommended.height}
    return changes


def recommended_for(job: Generation, store: ModelStore, loaded: str) -> Recommended | None:
    """Return what is recommended for the checkpoint of `job` (or the loaded one), None where unknown. Blocking."""
    reference = job.checkpoint if job.checkpoint is not None else ModelRef(name=loaded or "-")
    try:
        model = store.find(reference, "checkpoint", path=job.path("checkpoint"))
    except WorkerError:
        return None
    return model.recommended if model is not None else None
