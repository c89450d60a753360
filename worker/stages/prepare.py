"""From a typed job to names that the WebUI will not replace, with every model file in its place."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from pydantic import ValidationError

from worker.contract.types.job import Txt2Img
from worker.contract.types.model_ref import ModelRef
from worker.errors import InvalidInput, ModelNotFound, Problem
from worker.stages import fit, lookup, tagged
from worker.suggestions import nearest
from worker.telemetry.progress import Progress
from worker.webui.names import lora_tags, options, prompt_checks, resolve
from worker.webui.names.resolve import Chosen
from worker.webui.request import references

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.contract.types.job import Generation
    from worker.models.download.progress import FetchProgress
    from worker.models.store import ModelStore
    from worker.models.volume.model import LocalModel
    from worker.settings import ModelKind
    from worker.telemetry.progress import ProgressSink
    from worker.webui.backend import Backend
    from worker.webui.names.catalog import Catalog

REFRESH: dict[str, str] = {"checkpoint": "checkpoints", "vae": "vae", "embedding": "embeddings", "lora": "loras"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A job's names and models, settled.

    Attributes:
        checkpoint_hash: SHA-256 of the checkpoint's file where it is known.
        bases: Base model by LoRA name, where known.
        models: The files that the job uses, to be held while it does.
        wanted: Field, reference and kind of each, to fetch one that proves corrupt anew.
    """

    chosen: Chosen
    warnings: tuple[str, ...] = ()
    checkpoint_hash: str | None = None
    bases: tuple[tuple[str, str], ...] = ()
    models: tuple[LocalModel, ...] = ()
    wanted: tuple[tuple[str, ModelRef, ModelKind], ...] = ()


async def prepare(
    job: Generation, backend: Backend, store: ModelStore, *, default_checkpoint: str, on_progress: ProgressSink
) -> Prepared:
    """Return the job's names as the running WebUI lists them; fetch models that are not on the volume.

    Every mistake that can be seen without fetching is reported first, all at once.

    Raises:
        InvalidInput, ModelNotFound: a name that nobody knows, with what was probably meant.
        VolumeUnavailable: nobody can tell, since the folder of models is gone.
        IncompatibleModel: a LoRA made for another architecture than the checkpoint's.
    """
    catalog = backend.catalog
    sampling, hr_sampling, problems = resolve.samplings(job, catalog)
    styles, more = resolve.styles(job, catalog)
    spelt, wrong = options.settled(job, catalog, backend.plan.weights)
    problems = [*problems, *more, *wrong, *resolve.face_restorer(job, catalog, backend.plan.weights)]
    hr_upscaler = None
    if isinstance(job, Txt2Img):
        hr_upscaler, more = resolve.upscaler(job, catalog, backend.plan.weights)
        problems += more

    texts = _texts(job)
    if crowd := resolve.crowded([*texts[0], *texts[1]]):
        raise InvalidInput([*problems, *crowd])
    gone = _gone([*_wanted(job), *_beside(job, store, catalog)], texts[0], store, catalog)
    if gone and backend.plan.program is not None:  # a WebUI of somebody else's has folders of its own
        catalog = await backend.relearn(refresh=sorted(REFRESH[kind] for kind in gone))
    meant = tagged.read(texts[0], store, catalog)
    wanted = [*_wanted(job), *meant.wanted.values(), *_beside(job, store, catalog)]
    local, unknown, wrong = _on_the_volume(wanted, store, catalog)
    problems += [*wrong, *_mistagged(texts[0], meant, store, catalog)]
    if problems or unknown:
        if not problems:
            raise ModelNotFound(
                "; ".join(str(problem) for problem in unknown),
                details={"problems": [problem.to_json() for problem in unknown]},
            )
        raise InvalidInput([*problems, *unknown])

    needed = [want for want in wanted if want.path in local or not lookup.is_listed(want, catalog, store.volume)]
    if needed:  # those that are there too: their hashes are compared and their uses counted
        models = await store.prepare([(w.path, w.ref, w.kind) for w in needed], on_progress=fetching(on_progress))
        local.update({want.path: model for want, model in zip(needed, models, strict=True)})
    catalog = await _listed_by_now(local, backend)

    checkpoint = lookup.checkpoint(job, local, catalog, default_checkpoint or backend.loaded)
    loras = lookup.loras(job, local, catalog)
    names = meant.names(local)
    in_prompts, problems = resolve.tagged_loras(texts[0], catalog, names)
    problems += resolve.twice(in_prompts, loras)
    problems += lookup.mistaken(local, catalog, store.volume)
    if problems:
        raise InvalidInput(problems)
    chosen = Chosen(
        checkpoint=checkpoint,
        sampling=sampling,
        hr_sampling=hr_sampling,
        vae=lookup.vae(job, local, catalog),
        loras=loras,
        tagged=in_prompts,
        renamed={tag: name for tag, name in names.items() if tag != name},
        words=lookup.trigger_words(job, local),
        refiner=lookup.other_checkpoint("refiner_checkpoint", job, local, catalog),
        hr_checkpoint=lookup.other_checkpoint("hr_checkpoint_name", job, local, catalog),
        hr_upscaler=hr_upscaler,
        options=spelt,
        styles=styles,
    )
    base, digest = fit.facts_of(checkpoint, store)
    bases = fit.bases_of(chosen, local, catalog, store)
    known_unfit = {lora for model, lora in backend.unfit if model == checkpoint.name}
    fit.embeddings_fit(job, local, catalog, base, loaded=backend.began_with(checkpoint))
    brought = [(want.path, local[want.path].name) for want in needed if want.kind == "embedding"]
    said = _about_prompts([*texts[0], *texts[1]], brought, catalog, styles or (), loaded=backend.began_with(checkpoint))
    kindred = fit.loras_fit(chosen, base, bases, known_unfit, others=lambda: fit.loras_for(base, catalog, store))
    unseen = resolve.unproven_faces(job, backend.plan.weights)
    warnings = [*said, *unseen, *resolve.negative_tags(texts[1]), *kindred]
    files = tuple(local[want.path] for want in needed)
    named = tuple((want.path, want.ref, want.kind) for want in needed)
    return Prepared(chosen, tuple(warnings), digest, tuple(bases.items()), files, named)


def _about_prompts(
    texts: Sequence[tuple[str, str]],
    embeddings: Sequence[tuple[str, str]],
    catalog: Catalog,
    styles: Sequence[str],
    *,
    loaded: bool,
) -> list[str]:
    """Return warnings about the prompts: embeddings that do nothing, and texts of more than one part.

    Args:
        texts: ``(path in the job, prompt)``.
        embeddings: ``(path in the job, name)`` of those that the job brings along.
        catalog: What the WebUI lists.
        styles: By their listed names.
        loaded: The catalog's word on embeddings holds for the job's checkpoint.
    """
    skipped = catalog.skipped_embeddings if loaded else ()
    idle = prompt_checks.unused(embeddings, [*(text for _, text in texts), *catalog.texts_of(styles)])
    return [*prompt_checks.skipped(texts, skipped), *prompt_checks.long_ones(texts), *idle]


def fetching(sink: ProgressSink) -> Callable[[FetchProgress], None]:
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


def _wanted(job: Generation) -> list[lookup.Wanted]:
    found: list[lookup.Wanted] = []
    if job.checkpoint is not None:
        found.append(lookup.Wanted(job.path("checkpoint"), job.checkpoint, "checkpoint"))
    if job.vae is not None and job.vae.ref.casefold() not in lookup.VAE_WORDS:
        found.append(lookup.Wanted(job.path("vae"), job.vae, "vae"))
    found += [lookup.Wanted(f"{job.path('loras')}[{i}]", ref, "lora") for i, ref in enumerate(job.loras or ())]
    found += [
        lookup.Wanted(f"{job.path('embeddings')}[{i}]", ref, "embedding") for i, ref in enumerate(job.embeddings or ())
    ]
    if job.refiner_checkpoint is not None:
        found.append(lookup.Wanted(job.path("refiner_checkpoint"), job.refiner_checkpoint, "checkpoint"))
    if isinstance(job, Txt2Img) and job.hr_checkpoint_name is not None:
        found.append(lookup.Wanted(job.path("hr_checkpoint_name"), job.hr_checkpoint_name, "checkpoint"))
    return found


def _beside(job: Generation, store: ModelStore, catalog: Catalog) -> list[lookup.Wanted]:
    """Return the models of this volume that a script or a detector goes through: checked and held like the job's."""
    found: list[lookup.Wanted] = []
    for named in references.models(job, catalog):
        place, folder = PurePath(named.filename), store.volume.folders[named.kind].absolute()
        if place.is_relative_to(folder):
            with contextlib.suppress(ValidationError):  # a file that no job could name: the WebUI alone knows it
                ref = ModelRef(name=place.relative_to(folder).as_posix())
                found.append(lookup.Wanted(named.path, ref, named.kind))
    return found


def _texts(job: Generation) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    positive = [(job.path("prompt"), job.prompt or "")]
    negative = [(job.path("negative_prompt"), job.negative_prompt or "")]
    if isinstance(job, Txt2Img) and job.enable_hr:
        positive.append((job.path("hr_prompt"), job.hr_prompt or ""))
        negative.append((job.path("hr_negative_prompt"), job.hr_negative_prompt or ""))
    return positive, negative


def _gone(
    wanted: list[lookup.Wanted], texts: list[tuple[str, str]], store: ModelStore, catalog: Catalog
) -> set[ModelKind]:
    """Return the kinds of which the job names a file that the WebUI still lists, but that is not there any more.

    Raises VolumeUnavailable: their folder is gone. The WebUI, told to look anew, would forget all that it lists.
    """
    named = [(want.ref.ref, want.kind) for want in wanted]
    tagged = {tag.name for _, text in texts for tag in lora_tags.parse(text) if tag.kind in lora_tags.LORA_KINDS}
    both: list[tuple[str, ModelKind]] = [*named, *((name, "lora") for name in sorted(tagged))]
    gone = {kind for name, kind in both if lookup.is_gone(name, kind, catalog, store.volume)}
    for kind in sorted(gone):
        store.availability.require(kind)
    return gone


def _mistagged(
    texts: list[tuple[str, str]], meant: tagged.Tagged, store: ModelStore, catalog: Catalog
) -> list[Problem]:
    """Return a problem for each tag that would do nothing. Raises VolumeUnavailable: that can't be told."""
    problems = resolve.tagged_loras(texts, catalog, meant.expected())[1]
    if problems:
        store.availability.require("lora")
    return problems


def _on_the_volume(
    wanted: list[lookup.Wanted], store: ModelStore, catalog: Catalog
) -> tuple[dict[str, LocalModel], list[Problem], list[Problem]]:
    """Return the models that are there by path, a problem for each that nobody knows, and for each that can't be."""
    local: dict[str, LocalModel] = {}
    unknown: list[Problem] = []
    wrong: list[Problem] = []
    for want in wanted:
        try:
            choice = store.resolve(want.ref, want.kind, path=want.path)
            model = store.find(want.ref, want.kind, path=want.path)
        except InvalidInput as error:
            wrong += error.problems
            continue
        if model is not None:
            local[want.path] = model
        elif not choice.locators and not lookup.is_listed(want, catalog, store.volume):
            unknown.append(_unknown(store.not_found(choice, want.ref), want, catalog))
    return local, unknown, wrong


def _unknown(error: ModelNotFound, want: lookup.Wanted, catalog: Catalog) -> Problem:
    listed = {
        "checkpoint": [c.name for c in catalog.checkpoints],
        "lora": [lora.name for lora in catalog.loras],
        "vae": [vae.name for vae in catalog.vaes],
        "embedding": sorted(catalog.embeddings),
    }.get(want.kind, [])
    suggestions = error.details.get("suggestions") or []
    near = nearest(want.ref.ref, [*listed, *suggestions]) or next(iter(suggestions), None)
    there = f"; the WebUI has: {', '.join(listed[:40])}" if listed else ""
    if elsewhere := error.details.get("elsewhere"):
        there = f"; only {error.details['folder']}/ is read, and a file of that name lies at {' and '.join(elsewhere)}"
    return Problem(want.path, f"no {want.kind} {want.ref.shown!r} on the volume or in the catalog{there}", near)


async def _listed_by_now(local: dict[str, LocalModel], backend: Backend) -> Catalog:
    """Return the listings after the WebUI has looked for files that it does not list yet."""
    unseen = {model.kind for model in local.values() if not lookup.is_seen(model, backend.catalog)}
    if not unseen:
        return backend.catalog
    return await backend.relearn(refresh=sorted(REFRESH[kind] for kind in unseen if kind in REFRESH))
