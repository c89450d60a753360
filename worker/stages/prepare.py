"""From a typed job to names that the WebUI will not replace, with every model file in its place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from worker.contract.job import Txt2Img
from worker.contract.models import ModelRef
from worker.contract.suggest import nearest
from worker.errors import IncompatibleModel, InvalidInput, ModelNotFound, Problem
from worker.models.fits import fits
from worker.telemetry.progress import Progress
from worker.webui import resolve
from worker.webui.resolve import Chosen, ChosenLora

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.contract.job import Generation
    from worker.contract.models import LoraRef
    from worker.models.local import LocalModel
    from worker.models.progress import FetchProgress
    from worker.models.store import ModelStore
    from worker.settings import ModelKind
    from worker.telemetry.progress import ProgressSink
    from worker.webui.backend import Backend
    from worker.webui.catalog import Catalog, Checkpoint

REFRESH: dict[str, str] = {"checkpoint": "checkpoints", "vae": "vae", "embedding": "embeddings", "lora": "loras"}
VAE_WORDS = {"automatic": "Automatic", "none": "None"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job's names and models, settled.

    Attributes:
        checkpoint_hash: SHA-256 of the checkpoint's file where it is known.
        bases: Base model by LoRA name, where known.
    """

    chosen: Chosen
    warnings: tuple[str, ...] = ()
    checkpoint_hash: str | None = None
    bases: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Wanted:
    path: str
    ref: ModelRef
    kind: ModelKind


async def prepare(
    job: Generation, backend: Backend, store: ModelStore, *, default_checkpoint: str, on_progress: ProgressSink
) -> Prepared:
    """Return the job's names as the running WebUI lists them; fetch models that are not on the volume.

    Every mistake that can be seen without fetching is reported first, all at once.

    Raises:
        InvalidInput, ModelNotFound: a name that nobody knows, with what was probably meant.
        IncompatibleModel: a LoRA made for another architecture than the checkpoint's.
    """
    catalog = backend.catalog
    problems: list[Problem] = []
    sampling, hr_sampling, more = resolve.samplings(job, catalog)
    problems += more
    styles, more = resolve.styles(job, catalog)
    problems += more
    problems += resolve.face_restorer(job, catalog, backend.plan.weights)
    hr_upscaler = None
    if isinstance(job, Txt2Img):
        hr_upscaler, more = resolve.upscaler(job, catalog, backend.plan.weights)
        problems += more

    wanted = _wanted(job)
    local, unknown = _on_the_volume(wanted, store, catalog)
    texts = _texts(job)
    tagged, more = resolve.tagged_loras(texts[0], catalog)
    problems += more
    if problems or unknown:
        if not problems:
            raise ModelNotFound(
                "; ".join(str(problem) for problem in unknown),
                details={"problems": [problem.to_json() for problem in unknown]},
            )
        raise InvalidInput([*problems, *unknown])

    missing = [want for want in wanted if want.path not in local and not _listed(want, catalog)]
    if missing:
        fetched = await store.prepare([(w.path, w.ref, w.kind) for w in missing], on_progress=_fetching(on_progress))
        local.update({want.path: model for want, model in zip(missing, fetched, strict=True)})
    catalog = await _listed_by_now(local, backend)

    checkpoint = _checkpoint(job, local, catalog, default_checkpoint or backend.loaded)
    loras = _loras(job, local, catalog)
    problems = resolve.twice([*tagged, *loras])
    if problems:
        raise InvalidInput(problems)
    chosen = Chosen(
        checkpoint=checkpoint,
        sampling=sampling,
        hr_sampling=hr_sampling,
        vae=_vae(job, local, catalog),
        loras=loras,
        tagged=tagged,
        words=_words(job, local),
        refiner=_other_checkpoint("refiner_checkpoint", job, local, catalog),
        hr_checkpoint=_other_checkpoint("hr_checkpoint_name", job, local, catalog),
        hr_upscaler=hr_upscaler,
        styles=styles,
    )
    base, digest = _facts_of(checkpoint, store)
    bases = _bases(chosen, local, catalog, store)
    known_unfit = {lora for model, lora in backend.unfit if model == checkpoint.name}
    _embeddings_fit(job, local, catalog, base, loaded=checkpoint.name == backend.loaded)
    warnings = [*resolve.negative_tags(texts[1]), *_fit(chosen, base, bases, known_unfit)]
    return Prepared(chosen, tuple(warnings), digest, tuple(bases.items()))


def _fetching(sink: ProgressSink) -> Callable[[FetchProgress], None]:
    """Return a sink for downloads: they are the job's progress while it waits for them."""

    def tell(state: FetchProgress) -> None:
        share = state.done / state.total if state.total else 0.0
        what = "waiting for another worker to fetch" if state.waiting else "fetching"
        amount = (
            f"{state.done / 1e6:.0f} of {state.total / 1e6:.0f} MB" if state.total else f"{state.done / 1e6:.0f} MB"
        )
        message = f"{what} {state.name}: {amount}, {state.speed / 1e6:.1f} MB/s"
        sink(Progress(stage="prepare", percent=5 * share, eta_s=state.eta_s, message=message))

    return tell


def _wanted(job: Generation) -> list[_Wanted]:
    found: list[_Wanted] = []
    if job.checkpoint is not None:
        found.append(_Wanted(job.path("checkpoint"), job.checkpoint, "checkpoint"))
    if job.vae is not None and job.vae.ref.casefold() not in VAE_WORDS:
        found.append(_Wanted(job.path("vae"), job.vae, "vae"))
    found += [_Wanted(f"{job.path('loras')}[{i}]", ref, "lora") for i, ref in enumerate(job.loras or ())]
    found += [_Wanted(f"{job.path('embeddings')}[{i}]", ref, "embedding") for i, ref in enumerate(job.embeddings or ())]
    if job.refiner_checkpoint is not None:
        found.append(_Wanted(job.path("refiner_checkpoint"), job.refiner_checkpoint, "checkpoint"))
    if isinstance(job, Txt2Img) and job.hr_checkpoint_name is not None:
        found.append(_Wanted(job.path("hr_checkpoint_name"), job.hr_checkpoint_name, "checkpoint"))
    return found


def _texts(job: Generation) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    positive = [(job.path("prompt"), job.prompt or "")]
    negative = [(job.path("negative_prompt"), job.negative_prompt or "")]
    if isinstance(job, Txt2Img):
        positive.append((job.path("hr_prompt"), job.hr_prompt or ""))
        negative.append((job.path("hr_negative_prompt"), job.hr_negative_prompt or ""))
    return positive, negative


def _on_the_volume(
    wanted: list[_Wanted], store: ModelStore, catalog: Catalog
) -> tuple[dict[str, LocalModel], list[Problem]]:
    """Return the models that are there by path, and a problem for each that nobody knows or that can't be read."""
    local: dict[str, LocalModel] = {}
    unknown: list[Problem] = []
    for want in wanted:
        try:
            choice = store.choose(want.ref, want.kind, path=want.path)
            model = store.find(want.ref, want.kind, path=want.path)
        except InvalidInput as error:
            unknown += error.problems
            continue
        if model is not None:
            local[want.path] = model
        elif not choice.locators and not _listed(want, catalog):
            unknown.append(_unknown(store.not_found(choice, want.ref), want, catalog))
    return local, unknown


def _unknown(error: ModelNotFound, want: _Wanted, catalog: Catalog) -> Problem:
    listed = {
        "checkpoint": [c.name for c in catalog.checkpoints],
        "lora": [lora.name for lora in catalog.loras],
        "vae": [vae.name for vae in catalog.vaes],
        "embedding": sorted(catalog.embeddings),
    }.get(want.kind, [])
    suggestions = error.details.get("suggestions") or []
    near = suggestions[0] if suggestions else nearest(want.ref.ref, listed)
    there = f"; the WebUI has: {', '.join(listed[:40])}" if listed else ""
    return Problem(want.path, f"no {want.kind} {want.ref.ref[:200]!r} on the volume or in the catalog{there}", near)


def _listed(want: _Wanted, catalog: Catalog) -> bool:
    """Whether a WebUI with folders of its own lists the name."""
    name = want.ref.ref
    if want.kind == "checkpoint":
        return catalog.checkpoint(name) is not None
    if want.kind == "lora":
        return catalog.lora(name) is not None
    if want.kind == "vae":
        return catalog.vae(name) is not None
    return want.kind == "embedding" and name in catalog.embeddings


async def _listed_by_now(local: dict[str, LocalModel], backend: Backend) -> Catalog:
    """Return the listings after the WebUI has looked for files that it does not list yet."""
    unseen = {model.kind for model in local.values() if not _seen(model, backend.catalog)}
    if not unseen:
        return backend.catalog
    return await backend.relearn(refresh=sorted(REFRESH[kind] for kind in unseen if kind in REFRESH))


def _seen(model: LocalModel, catalog: Catalog) -> bool:
    if model.kind == "checkpoint":
        return _row(model, catalog) is not None
    if model.kind == "lora":
        return catalog.lora(model.name) is not None
    if model.kind == "vae":
        return catalog.vae(model.name) is not None
    return model.name in catalog.embeddings or model.name in catalog.skipped_embeddings


def _row(model: LocalModel, catalog: Catalog) -> Checkpoint | None:
    real = os.path.realpath(model.path)
    same = (c for c in catalog.checkpoints if os.path.realpath(c.filename) == real)
    return next(same, None) or catalog.checkpoint(model.name)


def _checkpoint(job: Generation, local: dict[str, LocalModel], catalog: Catalog, default: str) -> Checkpoint:
    path = job.path("checkpoint")
    name = job.checkpoint.ref if job.checkpoint is not None else default
    found = _row(local[path], catalog) if path in local else catalog.checkpoint(name)
    if found is None:
        known = ", ".join(c.name for c in catalog.checkpoints) or "none"
        raise ModelNotFound(f"{path}: the WebUI does not list checkpoint {name!r}; it has: {known}")
    return found


def _other_checkpoint(field: str, job: Generation, local: dict[str, LocalModel], catalog: Catalog) -> Checkpoint | None:
    ref: ModelRef | None = getattr(job, field, None)
    if ref is None:
        return None
    path = job.path(field)
    found = _row(local[path], catalog) if path in local else catalog.checkpoint(ref.ref)
    if found is None:
        raise ModelNotFound(f"{path}: the WebUI does not list checkpoint {ref.ref!r}")
    return found


def _vae(job: Generation, local: dict[str, LocalModel], catalog: Catalog) -> str | None:
    if job.vae is None:
        return None
    word = VAE_WORDS.get(job.vae.ref.casefold())
    if word is not None:
        return word
    path = job.path("vae")
    found = catalog.vae(local[path].path.name if path in local else job.vae.ref)
    if found is None:
        raise ModelNotFound(f"{path}: the WebUI does not list VAE {job.vae.ref!r}")
    return found.name


def _loras(job: Generation, local: dict[str, LocalModel], catalog: Catalog) -> tuple[ChosenLora, ...]:
    chosen: list[ChosenLora] = []
    for index, ref in enumerate(job.loras or ()):
        path = f"{job.path('loras')}[{index}]"
        model = local.get(path)
        name = model.name if model is not None else ref.ref
        if catalog.lora(name) is None:
            known = ", ".join(lora.name for lora in catalog.loras) or "none"
            raise ModelNotFound(f"{path}: the WebUI does not list LoRA {name!r}; it has: {known}")
        default = model.default_scale if model is not None else None
        scale = ref.scale if ref.scale is not None else default
        chosen.append(ChosenLora(name, 1.0 if scale is None else scale, path))
    return tuple(chosen)


def _words(job: Generation, local: dict[str, LocalModel]) -> tuple[str, ...]:
    words: list[str] = []
    for index, ref in enumerate(job.loras or ()):
        words += _words_of(ref, local.get(f"{job.path('loras')}[{index}]"))
    return tuple(dict.fromkeys(words))


def _words_of(ref: LoraRef, model: LocalModel | None) -> list[str]:
    if isinstance(ref.trigger_words, list):
        return list(ref.trigger_words)
    return list(model.trigger_words) if ref.trigger_words and model is not None else []


def _facts_of(checkpoint: Checkpoint, store: ModelStore) -> tuple[str | None, str | None]:
    """Return base model and SHA-256 of a listed checkpoint, where its file is on the volume."""
    model = _by_file(checkpoint.filename, "checkpoint", store)
    return (model.base_model, model.sha256) if model is not None else (None, checkpoint.short_hash)


def _by_file(filename: str, kind: ModelKind, store: ModelStore) -> LocalModel | None:
    name = PurePath(filename).name
    if not name:
        return None
    try:
        found = store.find(ModelRef(name=name), kind)
    except InvalidInput:
        return None
    return found if found is not None and found.path.name == name else None


def _bases(chosen: Chosen, local: dict[str, LocalModel], catalog: Catalog, store: ModelStore) -> dict[str, str]:
    by_name = {model.name: model.base_model for model in local.values() if model.kind == "lora"}
    found: dict[str, str] = {}
    for lora in (*chosen.tagged, *chosen.loras):
        base = by_name.get(lora.name)
        if base is None:
            row = catalog.lora(lora.name)
            model = _by_file(row.path, "lora", store) if row is not None else None
            base = model.base_model if model is not None else None
        if base is not None:
            found[lora.name] = base
    return found


def _fit(chosen: Chosen, base: str | None, bases: dict[str, str], known_unfit: set[str]) -> list[str]:
    """Return warnings for LoRAs of a kindred base model.

    Raises:
        IncompatibleModel: one is made for another architecture, or was seen not to fit; the WebUI would skip it.
    """
    warnings = []
    for lora in (*chosen.tagged, *chosen.loras):
        own = bases.get(lora.name)
        verdict = fits(own, base)
        if verdict == "refuse":
            fitting = sorted(name for name, other in bases.items() if fits(other, base) != "refuse")
            raise IncompatibleModel(
                f"{lora.path}: LoRA {lora.name!r} is for {own}, but checkpoint {chosen.checkpoint.name!r} is {base}",
                details={"path": lora.path, "fitting": fitting},
            )
        if lora.name in known_unfit:
            raise IncompatibleModel(
                f"{lora.path}: LoRA {lora.name!r} has other shapes than checkpoint {chosen.checkpoint.name!r}",
                details={"path": lora.path},
            )
        if verdict == "warn":
            warnings.append(
                f"{lora.path}: LoRA {lora.name!r} is made for {own}, checkpoint {chosen.checkpoint.name!r} is {base}; "
                "it may not look as intended"
            )
    return warnings


def _embeddings_fit(
    job: Generation, local: dict[str, LocalModel], catalog: Catalog, base: str | None, *, loaded: bool
) -> None:
    """Raise IncompatibleModel for an embedding that the WebUI would silently take for a plain word.

    Args:
        job: The job.
        local: Models on the volume, by path in the job.
        catalog: What the WebUI lists; which embeddings it skips holds for the checkpoint that is loaded.
        base: The checkpoint's base model, where known.
        loaded: The job's checkpoint is the one that is loaded.
    """
    for index, ref in enumerate(job.embeddings or ()):
        path = f"{job.path('embeddings')}[{index}]"
        model = local.get(path)
        name = model.name if model is not None else ref.ref
        skipped = loaded and name in catalog.skipped_embeddings
        if skipped or (model is not None and fits(model.base_model, base) == "refuse"):
            made_for = f" (it is for {model.base_model})" if model is not None and model.base_model else ""
            raise IncompatibleModel(
                f"{path}: embedding {name!r} does not fit the checkpoint{made_for}",
                details={"path": path, "fitting": sorted(catalog.embeddings)},
            )
