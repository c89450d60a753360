"""Compatibility of a job's LoRAs and embeddings with its checkpoint, by their files and the WebUI's own findings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from worker.contract.rules.field_rules import first_size
from worker.contract.types.job import Txt2Img
from worker.errors import IncompatibleModel
from worker.models.format.compatibility import fits
from worker.models.format.detect import base_of_metadata, detect
from worker.models.format.safetensors import BrokenHeader, read_header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.contract.types.job import Generation
    from worker.jobs.prepare.resolved_models import ByPath, ResolvedModel
    from worker.models.store import ModelStore
    from worker.webui.names.catalog import Catalog, Checkpoint
    from worker.webui.names.lora_tags import ChosenLora

LOOKED_THROUGH = 1000
"""Files whose headers are read for a refusal's `fitting`."""

_LARGE_BASE = "SDXL"
_SMALL_PIXELS = 640 * 640
"""Up to here a checkpoint that was trained at 1024x1024 draws badly."""

NAMED = 50
"""Names in it."""


def facts_of(checkpoint: Checkpoint, store: ModelStore) -> tuple[str | None, str | None]:
    """Return base model and SHA-256 of a listed checkpoint, where its file is on the volume or on this machine."""
    model = store.listed.sound(checkpoint.filename, "checkpoint")
    if model is not None:
        return model.base_model, model.sha256
    return _base_of_file(Path(checkpoint.filename)), checkpoint.short_hash


def small_size(job: Generation, base: str | None) -> list[str]:
    """Return a warning for a picture far smaller than those that its checkpoint was trained on."""
    if not isinstance(job, Txt2Img) or base is None or not base.startswith(_LARGE_BASE):
        return []
    size = first_size(job)
    if size.pixels > _SMALL_PIXELS:
        return []
    hint = "send width and height, or recommended: true"
    return [f"{size.width}x{size.height} is small for {base} (trained at 1024x1024), which draws badly there; {hint}"]


def _base_of_file(path: Path) -> str | None:
    """Return the base model of a file in a folder of somebody else's WebUI, None where it can't be read from here."""
    try:
        return detect(read_header(path)).base_model
    except (OSError, BrokenHeader):
        return None


def bases_of(
    loras: Iterable[ChosenLora], models: Iterable[ResolvedModel], catalog: Catalog, store: ModelStore
) -> dict[str, str]:
    """Return the base model of each of the LoRAs that a job applies, where known."""
    files = [model.file for model in models if model.kind == "lora"]
    by_name = {file.name: file.base_model for file in files if file is not None}
    found: dict[str, str] = {}
    for lora in loras:
        base = by_name.get(lora.name)
        if base is None:
            row = catalog.lora(lora.name)
            model = store.listed.sound(row.path, "lora") if row is not None else None
            base = model.base_model if model is not None else None
            if base is None and row is not None:
                base = base_of_metadata(row.metadata)
        if base is not None:
            found[lora.name] = base
    return found


def loras_for(base: str | None, catalog: Catalog, store: ModelStore) -> list[str]:
    """Return the LoRAs that the WebUI has and that are known to be for checkpoints of `base`."""
    models = ((row.name, store.listed.sound(row.path, "lora")) for row in catalog.loras[:LOOKED_THROUGH])
    known = ((name, model.base_model) for name, model in models if model is not None and model.base_model is not None)
    return sorted(name for name, own in known if fits(own, base) == "ok")[:NAMED]


def loras_fit(
    loras: Iterable[ChosenLora],
    checkpoint: Checkpoint,
    base: str | None,
    bases: dict[str, str],
    known_unfit: set[str],
    *,
    others: Callable[[], list[str]],
) -> list[str]:
    """Return warnings for LoRAs of a kindred base model.

    Args:
        loras: Those that the job applies.
        checkpoint: The one that makes the picture.
        base: The checkpoint's base model, where known.
        bases: The base model of each of its LoRAs, where known.
        known_unfit: LoRAs that were seen not to fit this checkpoint.
        others: Returns LoRAs that would fit.

    Raises:
        IncompatibleModel: one is made for another architecture, or was seen not to fit; the WebUI would skip it.
    """
    warnings = []
    for lora in loras:
        own = bases.get(lora.name)
        verdict = fits(own, base)
        if verdict == "refuse":
            raise IncompatibleModel(
                f"{lora.path}: LoRA {lora.name!r} is for {own}, but checkpoint {checkpoint.name!r} is {base}",
                details={"path": lora.path, "fitting": others()},
            )
        if lora.name in known_unfit:
            raise IncompatibleModel(
                f"{lora.path}: LoRA {lora.name!r} has other shapes than checkpoint {checkpoint.name!r}",
                details={"path": lora.path, "fitting": [name for name in others() if name not in known_unfit]},
            )
        if base is None and own is not None:
            warnings.append(
                f"{lora.path}: LoRA {lora.name!r} is made for {own}; whether checkpoint {checkpoint.name!r} is "
                "can't be seen from here"
            )
        if verdict == "warn":
            warnings.append(
                f"{lora.path}: LoRA {lora.name!r} is made for {own}, checkpoint {checkpoint.name!r} is {base}; "
                "it may not look as intended"
            )
    return warnings


def presets_fit(job: Generation, checkpoint: Checkpoint, base: str | None) -> list[str]:
    """Return warnings for presets that are made for a kindred base model.

    Args:
        job: The job; its `base_models` say what its presets need.
        checkpoint: The one that makes the picture.
        base: The checkpoint's base model, where known.

    Raises:
        IncompatibleModel: a preset, such as a character, is made for another architecture.
    """
    warnings = []
    for path, own in job.base_models.items():
        verdict = fits(own, base)
        message = f"{path}: the preset is made for {own}, but checkpoint {checkpoint.name!r} is {base}"
        if verdict == "refuse":
            raise IncompatibleModel(message, details={"path": path, "base_model": own, "checkpoint_base_model": base})
        if verdict == "warn":
            warnings.append(f"{message}; it may not look as intended")
    return warnings


def embeddings_fit(job: Generation, models: ByPath, catalog: Catalog, base: str | None, *, loaded: bool) -> None:
    """Raise IncompatibleModel for an embedding that the WebUI would silently take for a plain word.

    Args:
        job: The job.
        models: Its models, by path.
        catalog: The WebUI's listings; which embeddings it skips holds for the checkpoint that is loaded.
        base: The checkpoint's base model, where known.
        loaded: The catalog was read while the job's checkpoint was loaded.
    """
    for index, ref in enumerate(job.embeddings or ()):
        path = f"{job.path('embeddings')}[{index}]"
        model = models[path].file
        name = model.name if model is not None else ref.ref
        skipped = loaded and name in catalog.skipped_embeddings
        if skipped or (model is not None and fits(model.base_model, base) == "refuse"):
            made_for = f" (it is for {model.base_model})" if model is not None and model.base_model else ""
            raise IncompatibleModel(
                f"{path}: embedding {name!r} does not fit the checkpoint{made_for}",
                details={"path": path, "fitting": sorted(catalog.embeddings)},
            )
