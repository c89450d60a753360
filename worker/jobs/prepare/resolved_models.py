"""Resolution of a job's model references: files on the volume, rows of the WebUI's listings, LoRA tags in prompts.

Blocking: files and folders of the volume are looked at.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeAlias

from pydantic import ValidationError

from worker.contract.types.model_ref import ModelRef
from worker.errors import InvalidInput, ModelNotFound, Problem
from worker.models.sources.references import locate
from worker.webui.names import lora_tags as tags
from worker.webui.names.catalog import Checkpoint, Lora, Vae
from worker.webui.names.lora_tags import ChosenLora

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.contract.types.job import Generation
    from worker.models.store import ModelStore
    from worker.models.volume.layout import Volume
    from worker.models.volume.model import LocalModel
    from worker.settings import ModelKind
    from worker.webui.names.catalog import Catalog

Row: TypeAlias = Checkpoint | Lora | Vae
VAE_WORDS = {"automatic": "Automatic", "none": "None"}


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model that a job refers to, as far as it has been resolved.

    Attributes:
        path: The field in the job.
        ref: The client's reference.
        kind: The kind of model that the field asks for.
        file: The file on the volume; None: it is not there, or the WebUI has it in folders of its own.
        row: The WebUI's row for it; None: it is not listed yet, or of a kind that has no rows.
    """

    path: str
    ref: ModelRef
    kind: ModelKind
    file: LocalModel | None = None
    row: Row | None = None

    @property
    def name(self) -> str:
        """The name of its file, else the reference."""
        return self.file.name if self.file is not None else self.ref.ref

    @property
    def wanted(self) -> tuple[str, ModelRef, ModelKind]:
        """The request to the model store."""
        return self.path, self.ref, self.kind


ByPath: TypeAlias = "Mapping[str, ResolvedModel]"


def is_listed(want: ResolvedModel, catalog: Catalog, volume: Volume) -> bool:
    """Return whether the WebUI has, in folders of its own, the model that a plain name means.

    A file of ours that the store did not take for it is not meant; an address or a hash says more than a name.
    """
    if want.ref.url is not None or (want.ref.sha256 is not None and not _has_hash(want, catalog)):
        return False
    place = _place(want.ref.ref, want.kind, catalog)
    if want.kind == "embedding":
        return place is not None and not _has_embedding(want.ref.ref, volume)
    return place is not None and not (_is_below(place, want.kind, volume) and Path(place).exists())


def _has_hash(want: ResolvedModel, catalog: Catalog) -> bool:
    """Return whether the WebUI lists a checkpoint of that name with the hash that the reference gives."""
    row = catalog.checkpoint_meant(want.ref.ref) if want.kind == "checkpoint" else None
    digits = want.ref.sha256 or ""
    return row is not None and row.short_hash is not None and digits.startswith(row.short_hash)


def left_open(models: Sequence[ResolvedModel]) -> list[str]:
    """Return a warning for each model whose reference does not decide among several files of its source."""
    found = []
    for each in models:
        if each.file is not None and each.file.left_open is not None:
            place = locate(each.ref)
            if place is not None and place.key == each.file.source:
                found.append(f"{each.path}: {each.file.left_open}")
    return found


def is_gone(name: str, kind: ModelKind, catalog: Catalog, volume: Volume) -> bool:
    """Return whether the WebUI lists a file of ours that is gone: removed by people, or by another worker."""
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
    """Return whether the WebUI lists a file that is on the volume."""
    if model.kind == "checkpoint":
        return _checkpoint_row(model, catalog) is not None
    if model.kind == "lora":
        return catalog.lora(model.name) is not None
    if model.kind == "vae":
        return catalog.vae(model.name) is not None
    return model.name in catalog.embeddings or model.name in catalog.skipped_embeddings


def with_row(model: ResolvedModel, catalog: Catalog) -> ResolvedModel:
    """Return `model` with the WebUI's row for it: of the same file where it is on the volume, else of that name."""
    file, name = model.file, model.ref.ref
    row: Row | None = None
    if model.kind == "checkpoint":
        row = _checkpoint_row(file, catalog) if file is not None else catalog.checkpoint_meant(name)
    elif model.kind == "lora":
        row = catalog.lora(file.name) if file is not None else catalog.lora_meant(name)
    elif model.kind == "vae":
        row = catalog.vae(file.path.name) if file is not None else catalog.vae_meant(name)
    return replace(model, row=row)


def _checkpoint_row(model: LocalModel, catalog: Catalog) -> Checkpoint | None:
    return catalog.checkpoint_at(model.path) or catalog.checkpoint(model.name)


def checkpoint(job: Generation, models: ByPath, catalog: Catalog, default: str) -> Checkpoint:
    """Return the checkpoint that makes the picture. Raises ModelNotFound when the WebUI does not list it."""
    path = job.path("checkpoint")
    if job.checkpoint is not None:
        return _checkpoint(models[path], catalog)
    found = catalog.checkpoint_meant(default)
    if found is None:
        raise _unlisted(path, "checkpoint", default, [each.name for each in catalog.checkpoints])
    return found


def other_checkpoint(field: str, job: Generation, models: ByPath, catalog: Catalog) -> Checkpoint | None:
    """Return the checkpoint that `field` names, None without one. Raises ModelNotFound like `checkpoint`."""
    return None if getattr(job, field, None) is None else _checkpoint(models[job.path(field)], catalog)


def _checkpoint(model: ResolvedModel, catalog: Catalog) -> Checkpoint:
    if not isinstance(model.row, Checkpoint):
        raise _unlisted(model.path, "checkpoint", model.ref.shown, [each.name for each in catalog.checkpoints])
    return model.row


def vae(job: Generation, models: ByPath, catalog: Catalog) -> str | None:
    """Return the VAE option's value, None when the job says nothing. Raises ModelNotFound like `checkpoint`."""
    if job.vae is None:
        return None
    word = VAE_WORDS.get(job.vae.ref.casefold())
    if word is not None:
        return word
    model = models[job.path("vae")]
    if not isinstance(model.row, Vae):
        raise _unlisted(model.path, "VAE", model.ref.shown, [each.name for each in catalog.vaes])
    return model.row.name


def loras(job: Generation, models: ByPath, catalog: Catalog) -> tuple[ChosenLora, ...]:
    """Return the LoRAs of the job's list with their scales. Raises ModelNotFound like `checkpoint`."""
    chosen: list[ChosenLora] = []
    for index, ref in enumerate(job.loras or ()):
        model = models[f"{job.path('loras')}[{index}]"]
        if not isinstance(model.row, Lora):
            raise _unlisted(model.path, "LoRA", model.name, [each.name for each in catalog.loras])
        default = model.file.default_scale if model.file is not None else None
        scale = ref.fixed_scale if ref.fixed_scale is not None else default
        chosen.append(ChosenLora(model.row.name, 1.0 if scale is None else scale, model.path))
    return tuple(chosen)


def _unlisted(path: str, what: str, name: str, known: Sequence[str]) -> ModelNotFound:
    return ModelNotFound(f"{path}: the WebUI does not list {what} {name!r}; it has: {', '.join(known) or 'none'}")


def ambiguous_files(models: Iterable[ResolvedModel], catalog: Catalog, volume: Volume) -> list[Problem]:
    """Return a problem for each model that the WebUI would take another file for, or that it can't be told to use.

    It knows LoRAs and embeddings by their files' stems and VAEs by their names, whatever the folder: of two files it
    has the one that it found last.
    """
    problems: list[Problem] = []
    for path, model in ((each.path, each.file) for each in models):
        if model is None:
            continue
        other = _taken_for(model, catalog, volume)
        if other is not None:
            taken = f"the WebUI takes {other} for every {model.kind} {model.name!r}"
            problems.append(Problem(path, f"{taken}; give one of the two files another name"))
        elif model.kind == "lora" and not tags.can_name(model.name):
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


def lora_files(volume: Volume, catalog: Catalog) -> list[str]:
    """Return the LoRA files that can be drawn: those on the volume, and the names of those that the WebUI alone has."""
    own = volume.names("lora")
    known = {PurePath(file).stem for file in own}
    elsewhere = [row.name for row in catalog.loras if row.name not in known and not _is_below(row.path, "lora", volume)]
    return [*own, *sorted(elsewhere)]


@dataclass(frozen=True, slots=True)
class TriggerWords:
    """The trigger words that a job wants around its prompt, each once."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def trigger_words(job: Generation, models: ByPath) -> TriggerWords:
    """Return the trigger words of the job's LoRAs, placed as the job says, else as the operator's rules do."""
    before: list[str] = []
    after: list[str] = []
    for index, ref in enumerate(job.loras or ()):
        model = models[f"{job.path('loras')}[{index}]"].file
        if isinstance(ref.trigger_words, list):
            after += ref.trigger_words
            continue
        place = ref.trigger_words
        if place is None and model is not None:
            place = model.put_words
        words = model.trigger_words if model is not None and place else ()
        if place == "before":
            before += words
        else:
            after += words
    behind = dict.fromkeys(word for word in after if word not in before)
    return TriggerWords(tuple(dict.fromkeys(before)), tuple(behind))


@dataclass(frozen=True, slots=True)
class TaggedLoras:
    """The LoRAs that the tags of a job's prompts mean.

    Attributes:
        listed: The WebUI's name by tag, where the tag is an alias or another spelling of a LoRA that it lists.
        wanted: The model by tag, where the volume has it or the catalog says where to fetch it.
    """

    listed: Mapping[str, str]
    wanted: Mapping[str, ResolvedModel]

    def expected(self) -> dict[str, str]:
        """Return a name by tag before anything is fetched: enough to tell mistakes."""
        return {**self.listed, **{tag: tag for tag in self.wanted}}

    def names(self, models: ByPath) -> dict[str, str]:
        """Return the name that the WebUI knows by tag, once every model is there."""
        return {**self.listed, **{tag: models[want.path].name for tag, want in self.wanted.items()}}


def read_tags(found: Sequence[tuple[str, tags.Tag]], store: ModelStore, catalog: Catalog) -> TaggedLoras:
    """Return the LoRAs that the tags of prompts, ``(path in the job, tag)``, mean, without unknown ones."""
    listed: dict[str, str] = {}
    wanted: dict[str, ResolvedModel] = {}
    for path, tag in found:
        if tag.kind not in tags.LORA_KINDS or tag.name in wanted or tag.name in listed:
            continue
        want = _tagged_model(f"{path} {tag.text}", tag.name, store, catalog)
        if want is not None:
            wanted[tag.name] = want
            continue
        name = _listed_tag(tag.name, catalog)
        if name is not None:
            listed[tag.name] = name
    return TaggedLoras(listed, wanted)


def _tagged_model(path: str, name: str, store: ModelStore, catalog: Catalog) -> ResolvedModel | None:
    """Return the model of one tag, None when neither the volume nor the catalog knows it."""
    try:
        ref = ModelRef(name=name)
        choice = store.resolve(ref, "lora", path=path)
        there = store.find(ref, "lora", path=path)
    except (ValidationError, InvalidInput, ModelNotFound):
        return None  # no name of a model: the tag's own check says so
    if catalog.lora(name) is not None:  # the WebUI goes by the tag alone: another file of a kindred name is not meant
        return ResolvedModel(path, ref, "lora") if there is not None and there.name == name else None
    return ResolvedModel(path, ref, "lora") if there is not None or choice.locators else None


def _listed_tag(name: str, catalog: Catalog) -> str | None:
    """Return the tag of the one LoRA that the WebUI lists under another spelling, or with `name` for its alias."""
    if catalog.lora(name) is not None:
        return None
    aliased = [lora.name for lora in catalog.loras if lora.alias == name]
    if len(aliased) == 1:
        return aliased[0]
    meant = catalog.lora_meant(name)
    return meant.name if meant is not None else None
