"""Jobs on the volume's models: fetched ahead of their use, listed, removed."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from worker.errors import InvalidInput
from worker.jobs.job_context import download_progress
from worker.models import admin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.contract.types.kinds import Prefetch
    from worker.contract.types.model_jobs import ModelsList, ModelsPrefetch, ModelsRemove
    from worker.contract.types.model_ref import ModelRef
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.models.volume.model import LocalModel
    from worker.settings import ModelKind

_LISTS: dict[str, ModelKind] = {
    "loras": "lora",
    "embeddings": "embedding",
    "upscalers": "upscaler",
    "controlnets": "controlnet",
    "detectors": "detector",
    "annotators": "annotator",
}
"""The fields of a prefetch that are lists, and the kind of each."""


async def prefetch(job: Prefetch, context: JobContext, services: JobServices) -> dict[str, Any]:
    """Fetch the models that a later job would need. Raises as `ModelStore.prepare` does."""
    models = services.store.prepare(wanted_of(job), on_progress=download_progress(context.on_progress))
    return {"type": job.type, "items": _fetched(await context.before_deadline(models))}


async def manage(
    job: ModelsList | ModelsPrefetch | ModelsRemove, context: JobContext, services: JobServices
) -> dict[str, Any]:
    """List, fetch or remove models of the volume; see `admin.perform`."""
    doing = admin.perform(services.store, job, on_progress=download_progress(context.on_progress))
    return {"type": job.type, "items": await context.before_deadline(doing)}


def wanted_of(job: Prefetch) -> list[tuple[str, ModelRef, ModelKind]]:
    """Return the models that `job` names: path in the job, reference, kind."""
    found: list[tuple[str, ModelRef, ModelKind]] = []
    if job.checkpoint is not None:
        found.append((job.path("checkpoint"), job.checkpoint, "checkpoint"))
    if job.vae is not None:
        found.append((job.path("vae"), job.vae, "vae"))
    for field, kind in _LISTS.items():
        refs: Sequence[ModelRef] = getattr(job, field) or ()
        found += [(job.path(f"{field}[{index}]"), ref, kind) for index, ref in enumerate(refs)]
    if not found:
        raise InvalidInput.at("", f"names no model: send checkpoint, vae, {', '.join(_LISTS)}")
    return found


def _fetched(models: Sequence[LocalModel]) -> dict[str, Any]:
    """Return the models that are there now, as the answer of a prefetch."""
    return {
        "models": [
            {
                "kind": model.kind,
                "name": model.name,
                "file": PurePath(model.path).name,
                "base_model": model.base_model,
                "sha256": model.sha256,
                "fetched": model.fetched,
            }
            for model in models
        ]
    }
