"""Jobs about models instead of pictures: ``models.list``, ``models.prefetch``, ``models.remove``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from worker.contract.types.model_jobs import ModelsList, ModelsPrefetch
from worker.errors import InvalidInput
from worker.models import upkeep
from worker.models.references import locate
from worker.models.volume import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.contract.types.model_jobs import KindedRef, ModelJob
    from worker.models.progress import ProgressSink
    from worker.models.store import ModelStore
    from worker.settings import ModelKind


async def perform(store: ModelStore, job: ModelJob, *, on_progress: ProgressSink | None = None) -> dict[str, Any]:
    """Return the answer to a job about models.

    Raises:
        InvalidInput: removal is not allowed, a kind is missing, a model is in use.
        WorkerError: as `ModelStore.prepare`.
    """
    if isinstance(job, ModelsList):
        return await asyncio.to_thread(list_models, store, job.what or KINDS)
    if isinstance(job, ModelsPrefetch):
        return await prefetch(store, job.models, on_progress=on_progress)
    return await asyncio.to_thread(remove, store, job.models)


def list_models(store: ModelStore, kinds: Sequence[ModelKind] = KINDS) -> dict[str, Any]:
    """Return ``{models: [...], summary, catalog: [...]}``: what is there and what could be fetched by name.

    Raises:
        VolumeUnavailable: a folder that was there is gone.
    """
    for each in kinds:
        store.presence.require(each)
    there = [item.to_json() for item in upkeep.listed(store, tuple(kinds))]
    known = [
        {"kind": entry.kind, "name": entry.name, "base_model": entry.base_model, "default_scale": entry.default_scale}
        for each in kinds
        for entry in store.catalog.of_kind(each)
    ]
    return {"models": there, "summary": upkeep.summary(store), "catalog": known}


async def prefetch(
    store: ModelStore, refs: list[KindedRef], *, on_progress: ProgressSink | None = None
) -> dict[str, Any]:
    """Fetch models; return ``{models: [{kind, name, size, sha256, fetched}]}``. Raises as `ModelStore.prepare`."""
    wanted = [(f"models[{i}]", ref, _kind(store, ref, f"models[{i}]")) for i, ref in enumerate(refs)]
    models = await store.prepare(wanted, on_progress=on_progress)
    return {
        "models": [
            {"kind": m.kind, "name": m.name, "size": m.size, "sha256": m.sha256, "fetched": m.fetched} for m in models
        ]
    }


def remove(store: ModelStore, refs: list[KindedRef]) -> dict[str, Any]:
    """Remove models; return ``{removed: [kind/file], freed_bytes}``.

    Raises:
        InvalidInput: the operator does not allow it, or a model is in use.
        ModelNotFound: one is not there; nothing is removed then.
    """
    if not store.settings.model_remove:
        raise InvalidInput.at("type", "models.remove is not allowed here; the operator can set MODEL_REMOVE=true")
    models = [upkeep.required(store, ref, ref.kind)[0] for ref in refs]
    freed = sum(upkeep.remove(store, model) for model in models)
    return {"removed": [model.key for model in models], "freed_bytes": freed}


def _kind(store: ModelStore, ref: KindedRef, path: str) -> ModelKind:
    kind = ref.kind or upkeep.kind_of(store, ref)
    if kind is None and locate(ref) is None:
        raise upkeep.without_kind(store, ref)
    if kind is None:
        raise InvalidInput.at(f"{path}.kind", f"say what {ref.shown!r} is: {', '.join(KINDS)}")
    return kind
