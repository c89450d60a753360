"""A job's models among what the WebUI lists: found by file where they are on the volume, else by exact name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from worker.errors import ModelNotFound, Problem
from worker.webui.names import lora_tags
from worker.webui.names.resolve import ChosenLora

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.types.job import Generation
    from worker.contract.types.model_ref import LoraRef, ModelRef
    from worker.models.volume.layout import Volume
    from worker.models.volume.model import LocalModel
    from worker.settings import ModelKind
    from worker.webui.names.catalog import Catalog, Checkpoint

VAE_WORDS = {"automatic": "Automatic", "none": "None"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that a job names: where, how, and what it has to be."""

    path: str
    ref: ModelRef
    kind: ModelKind


def is_listed(want: Wanted, catalog: Catalog, volume: Volume) -> bool:
    """Whether the WebUI has, in folders of its own, what a plain name means.

    A file of ours that the store did not take for it is not meant; an address or a hash says more than a name.
    """
    if want.ref.url is not None or want.ref.sha256 is not None:
        return False
    place = _place(want.ref.ref, want.kind, catalog)
    if want.kind == "embedding":
        return place is not None and not _has_embedding(want.ref.ref, volume)
    return place is not None and not (_is_below(place, want.kind, volume) and Path(place).exists())


def is_gone(name: str, kind: ModelKind, catalog: Catalog, volume: Volume) -> bool:
    """Whether the WebUI lists a file of ours that is not there any more: removed by people, or by another worker."""
    place = _place(name, kind, catalog)
    if kind == "embedding":
        return place is not None and not _has_embedding(name, volume)
    return place is not None and _is_below(place, kind, volume) and not Path(place).exists()


def _place(name: str, kind: ModelKind, catalog: Catalog) -> str | None:
    """Return where the WebUI has what it knows by a name: empty when it does not say, None when it knows nothing."""
    if kind == "checkpoint":
        checkpoint_row = catalog.checkpoint_meant(name)
        return checkpoint_row.filename if checkpoint_row is not None else None
    if kind == "lora":
        lora_row = catalog.lora_meant(name)
        return lora_row.path if lora_row is not None else None
    if kind == "vae":
        vae_row = catalog.vae_meant(name)
        return vae_row.filename if vae_row is not None else None
    return "" if kind == "embedding" and name in catalog.embeddings else None


def _is_below(place: str, kind: ModelKind, volume: Volume) -> bool:
    return bool(place) and PurePath(place).is_relative_to(volume.folders[kind].absolute())


def _has_embedding(name: str, volume: Volume) -> bool:
    return any(PurePath(each).stem == name for each in volume.names("embedding"))


def is_seen(model: LocalModel, catalog: Catalog) -> bool:
    """Whether the WebUI lists a file that is on the volume."""
    if model.kind == "checkpoint":
        return row(model, catalog) is not None
    if model.kind == "lora":
        return catalog.lora(model.name) is not None
    if model.kind == "vae":
        return catalog.vae(model.name) is not None
    return model.name in catalog.embeddings or model.name in catalog.skipped_embeddings


def row(model: LocalModel, catalog: Catalog) -> Checkpoint | None:
    """Return the line of a checkpoint on the volume: the same file, else the same name."""
    return catalog.checkpoint_at(model.path) or catalog.checkpoint(model.name)


def checkpoint(job: Generation, local: Mapping[str, LocalModel], catalog: Catalog, default: str) -> Checkpoint:
    """Return the checkpoint that makes the picture. Raises ModelNotFound when the WebUI does not list it."""
    path = job.path("checkpoint")
    name = job.checkpoint.ref if job.checkpoint is not None else default
    found = row(local[path], catalog) if path in local else catalog.checkpoint_meant(name)
    if found is None:
        known = ", ".join(c.name for c in catalog.checkpoints) or "none"
        raise ModelNotFound(f"{path}: the WebUI does not list checkpoint {name!r}; it has: {known}")
    return found


def other_checkpoint(
    field: str, job: Generation, local: Mapping[str, LocalModel], catalog: Catalog
) -> Checkpoint | None:
    """Return the checkpoint that `field` names, None without one. Raises ModelNotFound like `checkpoint`."""
    ref: ModelRef | None = getattr(job, field, None)
    if ref is None:
        return None
    path = job.path(field)
    found = row(local[path], catalog) if path in local else catalog.checkpoint_meant(ref.ref)
    if found is None:
        raise ModelNotFound(f"{path}: the WebUI does not list checkpoint {ref.shown!r}")
    return found


def vae(job: Generation, local: Mapping[str, LocalModel], catalog: Catalog) -> str | None:
    """Return the VAE option's value, None when the job says nothing. Raises ModelNotFound like `checkpoint`."""
    if job.vae is None:
        return None
    word = VAE_WORDS.get(job.vae.ref.casefold())
    if word is not None:
        return word
    path = job.path("vae")
    found = catalog.vae(local[path].path.name) if path in local else catalog.vae_meant(job.vae.ref)
    if found is None:
        raise ModelNotFound(f"{path}: the WebUI does not list VAE {job.vae.shown!r}")
    return found.name


def loras(job: Generation, local: Mapping[str, LocalModel], catalog: Catalog) -> tuple[ChosenLora, ...]:
    """Return the LoRAs of the job's list with their scales. Raises ModelNotFound like `checkpoint`."""
    chosen: list[ChosenLora] = []
    for index, ref in enumerate(job.loras or ()):
        path = f"{job.path('loras')}[{index}]"
        model = local.get(path)
        name = model.name if model is not None else ref.ref
        listed = catalog.lora(name) if model is not None else catalog.lora_meant(name)
        if listed is None:
            known = ", ".join(lora.name for lora in catalog.loras) or "none"
            raise ModelNotFound(f"{path}: the WebUI does not list LoRA {name!r}; it has: {known}")
        default = model.default_scale if model is not None else None
        scale = ref.fixed_scale if ref.fixed_scale is not None else default
        chosen.append(ChosenLora(listed.name, 1.0 if scale is None else scale, path))
    return tuple(chosen)


def mistaken(local: Mapping[str, LocalModel], catalog: Catalog, volume: Volume) -> list[Problem]:
    """Return a problem for each model that the WebUI would take another file for, or that it can't be told to use.

    It knows LoRAs and embeddings by their files' stems and VAEs by their names, whatever the folder: of two files it
    has the one that it found last.
    """
    problems: list[Problem] = []
    for path, model in local.items():
        other = _taken_for(model, catalog, volume)
        if other is not None:
            taken = f"the WebUI takes {other} for every {model.kind} {model.name!r}"
            problems.append(Problem(path, f"{taken}; give one of the two files another name"))
        elif model.kind == "lora" and not lora_tags.can_name(model.name):
            message = f"LoRA {model.name!r} can't be named in a prompt: its file's name has ':', '=', '>' or '#'"
            problems.append(Problem(path, message))
    return problems


def _taken_for(model: LocalModel, catalog: Catalog, volume: Volume) -> str | None:
    """Return the file, below its kind's folder, that the WebUI has under the name of `model`; None when it is that."""
    folder = volume.folders[model.kind].absolute()
    if model.kind == "embedding":
        same = [each for each in volume.names("embedding") if PurePath(each).stem == model.name]
        return next((each for each in same if folder / each != model.path), None)
    place = None
    if model.kind == "lora" and (lora_row := catalog.lora(model.name)) is not None:
        place = lora_row.path
    elif model.kind == "vae" and (vae_row := catalog.vae(model.path.name)) is not None:
        place = vae_row.filename
    if not place or not PurePath(place).is_relative_to(folder) or not Path(place).exists():
        return None  # a WebUI elsewhere has folders of its own
    same_file = os.path.realpath(place) == os.path.realpath(model.path)
    return None if same_file else PurePath(place).relative_to(folder).as_posix()


def trigger_words(job: Generation, local: Mapping[str, LocalModel]) -> tuple[str, ...]:
    """Return the trigger words that the job wants in its prompt, each once."""
    words: list[str] = []
    for index, ref in enumerate(job.loras or ()):
        words += _words_of(ref, local.get(f"{job.path('loras')}[{index}]"))
    return tuple(dict.fromkeys(words))


def _words_of(ref: LoraRef, model: LocalModel | None) -> list[str]:
    if isinstance(ref.trigger_words, list):
        return list(ref.trigger_words)
    return list(model.trigger_words) if ref.trigger_words and model is not None else []
