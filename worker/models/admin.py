"""Administration of the models on a volume: list, verify, pin, remove, clean up; also as jobs (``models.list`` …).

Blocking but for `perform` and `prefetch`, which wait in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from worker.common.suggestions import closest
from worker.contract.types.model_jobs import ModelsList, ModelsPrefetch
from worker.errors import InvalidInput, ModelNotFound
from worker.models.format.filenames import match_key
from worker.models.sources.references import locate
from worker.models.volume.eviction import free_bytes, on_their_way
from worker.models.volume.integrity import complaint
from worker.models.volume.integrity import measure as measured
from worker.models.volume.layout import KINDS
from worker.models.volume.leases import LeaseTable
from worker.models.volume.model import LocalModel, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from worker.contract.types.model_jobs import KindedRef, ModelJob
    from worker.contract.types.model_ref import ModelRef
    from worker.errors import WorkerError
    from worker.models.download.download_progress import ProgressSink
    from worker.models.store import ModelStore
    from worker.models.volume.registry import Entry
    from worker.settings import ModelKind

_YOUNG_S = 3600.0


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of the list of models.

    Attributes:
        model: The file.
        entry: What the registry knows of it.
        size: Bytes.
    """

    model: LocalModel
    entry: Entry
    size: int

    def to_json(self) -> dict[str, Any]:
        """Return strict JSON without paths of the machine."""
        return {
            "kind": self.model.kind,
            "name": self.model.name,
            "title": self.model.title,
            "file": self.entry.file,
            "size": self.size,
            "base_model": self.model.base_model,
            "sha256": self.entry.sha256,
            "source": self.entry.source,
            "default_scale": self.model.default_scale,
            "trigger_words": list(self.model.trigger_words),
            "fetched_at": self.entry.fetched_at or None,
            "last_used": self.entry.last_used or None,
            "uses": self.entry.uses,
            "pinned": self.entry.pinned,
        }


def listed(store: ModelStore, kinds: tuple[ModelKind, ...] = KINDS) -> Iterator[ModelRow]:
    """Yield every model of the volume, by kind and name."""
    for kind in kinds:
        for file in store.volume.files(kind):
            entry = store.inventory.entry(file)
            entry = replace(entry, last_used=store.inventory.last_used(entry))
            known = store.catalog.named(entry.name or entry.stem, kind) or store.catalog.named(entry.stem, kind)
            rule = store.lora_rules.rule(file.file) if file.kind == "lora" else None
            notes = store.inventory.notes_beside(file)
            model = describe(file.path.absolute(), entry, known, rule=rule, notes=notes)
            yield ModelRow(model, entry, file.size)


def summary(store: ModelStore) -> dict[str, Any]:
    """Return totals: models, bytes, free bytes."""
    sizes = [each.size for each in listed(store)]
    return {"models": len(sizes), "bytes": sum(sizes), "free_bytes": free_bytes(store.volume.root)}


def kind_of(store: ModelStore, ref: ModelRef) -> ModelKind | None:
    """Return the kind of a model that a person named without it: by file, catalog or AIR; None when nothing tells.

    Raises:
        InvalidInput: the reference can't be one.
    """
    there = [kind for kind in KINDS if store.find(ref, kind) is not None]
    if len(there) == 1:
        return there[0]
    known = [kind for kind in KINDS if store.resolve(ref, kind).catalog is not None]
    if len(known) == 1:
        return known[0]
    text = (ref.url or ref.name or "").lower()
    if text.startswith("urn:air:"):
        said = text.split(":")[3]
        names = {"checkpoint": "checkpoint", "lora": "lora", "locon": "lora", "dora": "lora", "embedding": "embedding"}
        found = {**names, "textualinversion": "embedding", "vae": "vae", "controlnet": "controlnet"}.get(said)
        return next((kind for kind in KINDS if kind == found), None)
    return None


def without_kind(store: ModelStore, ref: ModelRef) -> WorkerError:
    """Return the error for a model of which nothing tells the kind: an unknown name, or an address alone."""
    if locate(ref) is not None:
        return InvalidInput.at("kind", f"nothing tells what {ref.shown!r} is; say one of {', '.join(KINDS)}")
    known = [name for entry in store.catalog.entries for name in (entry.name, *entry.aliases)]
    known += [PurePosixPath(name).stem for kind in KINDS for name in store.volume.names(kind)]
    suggestions = closest(ref.ref, known, key=match_key)
    asked = f" (did you mean {suggestions[0]!r}?)" if suggestions else ""
    return ModelNotFound(
        f"{ref.shown!r} is neither on the volume nor in the catalog{asked}", details={"suggestions": suggestions}
    )


def required(store: ModelStore, ref: ModelRef, kind: ModelKind | None) -> tuple[LocalModel, Entry]:
    """Return a model that has to be there.

    Raises:
        ModelNotFound: it is not.
        VolumeUnavailable: its folder is gone.
        InvalidInput: it is there as several kinds, so the kind has to be said.
    """
    kinds = (kind,) if kind else KINDS
    found = [model for each in kinds if (model := store.find(ref, each)) is not None]
    if len(found) > 1:
        raise InvalidInput.at(
            "kind", f"{ref.shown!r} is there as {' and '.join(model.kind for model in found)}; say which"
        )
    if not found:
        for each in kinds:
            store.availability.require(each)
        if locate(ref) is None:
            raise store.not_found(store.resolve(ref, kind), ref) if kind else without_kind(store, ref)
        raise ModelNotFound(f"{ref.shown!r} is not on the volume", hint="`models list` shows what is there.")
    model = found[0]
    file = store.volume.look(model.kind, model.key.partition("/")[2])
    if file is None:
        raise ModelNotFound(f"{model.key} has just been removed")
    return model, store.inventory.entry(file)


def fetchable(store: ModelStore, ref: ModelRef, kind: ModelKind | None) -> dict[str, Any] | None:
    """Return what is known of a model that is not on the volume but that `pull` would fetch; None: nothing is.

    Raises:
        InvalidInput: the reference can't be one, or is an address that does not tell the kind.
    """
    settled = kind or kind_of(store, ref)
    if settled is None:
        raise without_kind(store, ref)
    resolution = store.resolve(ref, settled)
    entry = resolution.catalog
    if entry is None and not resolution.locators:
        return None
    told: dict[str, Any] = {"kind": settled, "name": resolution.name or ref.shown, "on_volume": False}
    if entry is None:
        return {**told, "sources": [locator.key for locator in resolution.locators]}
    facts = entry.model_dump(mode="json", exclude_none=True, exclude={"name", "kind"})
    return {**told, **{name: value for name, value in facts.items() if value != []}}


def verify(store: ModelStore, item: ModelRow, *, measure: bool) -> str | None:
    """Return what is wrong with a model, None when nothing is.

    Args:
        store: Where it is.
        item: The model.
        measure: Also measure files without a known hash and write the hash down.
    """
    wrong = complaint(item.model.path, sha256=store.inventory.written_hash(item.model.key))
    if wrong is None and measure and item.entry.sha256 is None:
        measured(store.inventory, item.model)
    return wrong


def remove_model(store: ModelStore, model: LocalModel) -> int:
    """Remove a model; return the bytes that became free. Raises InvalidInput when it is in use, OSError."""
    if model.key in store.marks.held() | store.marks.others():
        raise InvalidInput.at("models", f"{model.key} is in use")
    store.space.remove(model.key)
    return model.size


def tidy(store: ModelStore, *, now: Callable[[], float] = time.time) -> list[Path]:
    """Remove what dead workers left (partial files, leases, marks, temporaries) and what is in quarantine.

    Returns what was removed. A file is left alone while it is young or its fetch has a live lease. Raises OSError.
    """
    removed: list[Path] = []
    leases = LeaseTable(store.volume.store / "leases", live_s=store.settings.model_lease_s)
    dead, fetching = leases.sweep()
    for kind in KINDS:
        folder = store.volume.incoming(kind)
        for path in on_their_way(folder):
            if not fetching or _age(path, now) > _YOUNG_S:
                removed += _unlinked(path)
        for path in store.volume.quarantine(kind).glob("*"):
            removed += _unlinked(path)
    for path in (*store.volume.root.glob(".cache_registry.json.*.tmp"), *store.volume.store.rglob(".*.tmp")):
        if _age(path, now) > _YOUNG_S:
            removed += _unlinked(path)
    removed += dead
    store.marks.others()  # removes those of dead workers
    store.inventory.rebuild()
    return removed


def _age(path: Path, now: Callable[[], float]) -> float:
    with contextlib.suppress(OSError):
        return now() - path.stat().st_mtime
    return 0.0


def _unlinked(path: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        path.unlink()
        return [path]
    return []


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
    return await asyncio.to_thread(remove_models, store, job.models)


def list_models(store: ModelStore, kinds: Sequence[ModelKind] = KINDS) -> dict[str, Any]:
    """Return ``{models: [...], summary, catalog: [...]}``: what is there and what could be fetched by name.

    Raises:
        VolumeUnavailable: a folder that was there is gone.
    """
    for each in kinds:
        store.availability.require(each)
    there = [item.to_json() for item in listed(store, tuple(kinds))]
    known = [
        {"kind": entry.kind, "name": entry.name, "base_model": entry.base_model, "default_scale": entry.default_scale}
        for each in kinds
        for entry in store.catalog.of_kind(each)
    ]
    return {"models": there, "summary": summary(store), "catalog": known}


async def prefetch(
    store: ModelStore, refs: list[KindedRef], *, on_progress: ProgressSink | None = None
) -> dict[str, Any]:
    """Fetch models; return ``{models: [{kind, name, size, sha256, fetched}]}``. Raises as `ModelStore.prepare`."""
    kinds = await asyncio.to_thread(lambda: [_kind(store, ref, f"models[{i}]") for i, ref in enumerate(refs)])
    wanted = [(f"models[{i}]", ref, kind) for i, (ref, kind) in enumerate(zip(refs, kinds, strict=True))]
    models = await store.prepare(wanted, on_progress=on_progress)
    return {
        "models": [
            {"kind": m.kind, "name": m.name, "size": m.size, "sha256": m.sha256, "fetched": m.fetched} for m in models
        ]
    }


def remove_models(store: ModelStore, refs: list[KindedRef]) -> dict[str, Any]:
    """Remove models; return ``{removed: [kind/file], freed_bytes}``.

    Raises:
        InvalidInput: the operator does not allow it, or a model is in use.
        ModelNotFound: one is not there; nothing is removed then.
    """
    if not store.settings.model_remove:
        raise InvalidInput.at("type", "models.remove is not allowed here; the operator can set MODEL_REMOVE=true")
    models = [required(store, ref, ref.kind)[0] for ref in refs]
    freed = sum(remove_model(store, model) for model in models)
    return {"removed": [model.key for model in models], "freed_bytes": freed}


def _kind(store: ModelStore, ref: KindedRef, path: str) -> ModelKind:
    kind = ref.kind or kind_of(store, ref)
    if kind is None and locate(ref) is None:
        raise without_kind(store, ref)
    if kind is None:
        raise InvalidInput.at(f"{path}.kind", f"say what {ref.shown!r} is: {', '.join(KINDS)}")
    return kind
