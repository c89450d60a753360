"""Preparation of a job's models and names: resolved as the running WebUI lists them, every file in its place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from worker.common.suggestions import nearest
from worker.contract.types.job import Txt2Img
from worker.errors import InvalidInput, ModelNotFound, Problem
from worker.jobs.job_context import download_progress
from worker.jobs.prepare import model_compatibility, pass_models, resolved_models
from worker.jobs.prepare.resolved_models import ResolvedModel, TaggedLoras
from worker.models.lora_rules import UsedLora
from worker.models.volume.model_resolver import nothing_in
from worker.webui.names import lora_tags
from worker.webui.names.name_resolver import Chosen, resolve_names
from worker.webui.names.prompt_checks import prompt_warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.contract.types.job import Generation
    from worker.jobs.job_context import JobThreads
    from worker.jobs.prepare.pass_models import LorasOfPass
    from worker.jobs.prepare.resolved_models import ByPath
    from worker.models.store import ModelStore
    from worker.settings import ModelKind
    from worker.telemetry.progress import ProgressSink
    from worker.webui.backend import Backend
    from worker.webui.names.catalog import Catalog, Checkpoint
    from worker.webui.names.lora_tags import ChosenLora
    from worker.webui.names.name_resolver import JobNames

REFRESH: dict[str, str] = {"checkpoint": "checkpoints", "vae": "vae", "embedding": "embeddings", "lora": "loras"}


@dataclass(frozen=True, slots=True)
class PreparedModels:
    """A job's names and models, ready for the request.

    Attributes:
        chosen: Every name as the WebUI knows it.
        models: The files that the job uses.
        warnings: For the client.
    """

    chosen: Chosen
    models: tuple[ResolvedModel, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A job without mistakes, before anything is fetched.

    Attributes:
        needed: Models from the volume, there or to be fetched.
        elsewhere: Models that the WebUI has in folders of its own.
        tagged: The LoRAs in its prompts.
        names: Its other names.
    """

    needed: tuple[ResolvedModel, ...]
    elsewhere: tuple[ResolvedModel, ...]
    tagged: TaggedLoras
    names: JobNames

    @property
    def missing(self) -> tuple[ResolvedModel, ...]:
        """Models that have to be fetched first."""
        return tuple(model for model in self.needed if model.file is None)


class ModelPreparation:
    """Prepares the models of one job after the other; one for the worker's life.

    Args:
        backend: The WebUI, ready.
        store: The model files.
        threads: For everything that looks at the volume.
    """

    def __init__(self, backend: Backend, store: ModelStore, threads: JobThreads) -> None:
        self._backend = backend
        self._store = store
        self._threads = threads

    async def plan(self, job: Generation) -> ModelPlan:
        """Return the plan for `job`; every mistake that can be seen without fetching is reported, all at once.

        Raises:
            InvalidInput, ModelNotFound: a name that nobody knows, with the one that was probably meant.
            VolumeUnavailable: nobody can tell, since the folder of models is gone.
        """
        removed = await self._threads.run(_removed_kinds, job, self._store, self._backend)
        if removed and self._backend.plan.program is not None:  # somebody else's WebUI has folders of its own
            await self._backend.relearn(refresh=sorted(REFRESH[kind] for kind in removed))
        return await self._threads.run(_plan, job, self._store, self._backend)

    async def fetch(self, plan: ModelPlan, on_progress: ProgressSink) -> ModelPlan:
        """Return `plan` with every needed file on the volume and listed by the WebUI.

        Raises:
            WorkerError: one can't be had; see `ModelStore.prepare`.
        """
        if not plan.needed:
            return plan
        wanted = [model.wanted for model in plan.needed]  # with those that are there: hashes are compared, uses counted
        files = await self._store.prepare(wanted, on_progress=download_progress(on_progress))
        needed = tuple(replace(model, file=file) for model, file in zip(plan.needed, files, strict=True))
        unseen = await self._threads.run(self._unseen, needed)
        if unseen:  # the WebUI does not list them yet
            await self._backend.relearn(refresh=sorted(REFRESH[kind] for kind in unseen if kind in REFRESH))
        return replace(plan, needed=needed)

    async def finish(self, job: Generation, plan: ModelPlan) -> PreparedModels:
        """Return the job's models once every file is there.

        Raises:
            ModelNotFound: the WebUI does not list one.
            InvalidInput: it would take another file for one.
            IncompatibleModel: a LoRA or an embedding is made for another architecture than the checkpoint's.
        """
        return await self._threads.run(_finish, job, plan, self._store, self._backend)

    def _unseen(self, models: tuple[ResolvedModel, ...]) -> set[ModelKind]:
        catalog = self._backend.catalog
        files = [model.file for model in models if model.file is not None]
        return {file.kind for file in files if not resolved_models.is_seen(file, catalog)}


def _plan(job: Generation, store: ModelStore, backend: Backend) -> ModelPlan:
    catalog = backend.catalog
    names = resolve_names(job, catalog, backend.plan.weights)
    own, indirect = _referenced(job), pass_models.indirect(job, store, catalog)
    tagged = resolved_models.read_tags(names.tags, store, catalog)
    wanted = [*own, *tagged.wanted.values(), *indirect]
    models, unknown, wrong = _on_the_volume(wanted, store, catalog)
    in_units = pass_models.wrong_in_units(job, own, catalog, backend.plan.weights)
    idle_tags = _tags_without_effect(job, names, tagged, store, catalog)
    problems = [*names.problems, *wrong, *idle_tags, *in_units]
    if problems:
        raise InvalidInput([*problems, *unknown])
    if unknown:
        raise ModelNotFound(
            "; ".join(str(problem) for problem in unknown),
            details={"problems": [problem.to_json() for problem in unknown]},
        )
    elsewhere = [
        each for each in models if each.file is None and resolved_models.is_listed(each, catalog, store.volume)
    ]
    needed = [each for each in models if each not in elsewhere]
    return ModelPlan(tuple(needed), tuple(elsewhere), tagged, names)


def _finish(job: Generation, plan: ModelPlan, store: ModelStore, backend: Backend) -> PreparedModels:
    catalog = backend.catalog
    files = tuple(resolved_models.with_row(each, catalog) for each in plan.needed)
    elsewhere = (resolved_models.with_row(each, catalog) for each in plan.elsewhere)
    models = {each.path: each for each in (*files, *elsewhere)}
    chosen, passes, warnings = _chosen(job, plan, models, files, store, backend)
    by_rule, against_rule = _rules_on_loras(job, chosen, passes, files, store)
    if problems := [*pass_models.twice(passes), *by_rule]:
        raise InvalidInput(problems)
    base, digest = model_compatibility.facts_of(chosen.checkpoint, store)
    bases = model_compatibility.bases_of((*chosen.applied_loras, *chosen.in_passes), files, catalog, store)
    listed = backend.knows_embeddings_of(chosen.checkpoint)
    model_compatibility.embeddings_fit(job, models, catalog, base, loaded=listed)
    in_passes = pass_models.by_checkpoint(passes, job, chosen.checkpoint, catalog)
    kindred: list[str] = []
    for checkpoint, loras in [(chosen.checkpoint, chosen.applied_loras), *in_passes]:
        kindred += _fit(loras, checkpoint, bases, store, backend)
    brought = [(each.path, each.name) for each in files if each.kind == "embedding"]
    warnings = [
        *prompt_warnings(plan.names, catalog, brought, loaded=listed),
        *plan.names.warnings,
        *resolved_models.left_open(files),
        *warnings,
        *model_compatibility.small_size(job, base),
        *dict.fromkeys(kindred),
        *against_rule,
        *model_compatibility.presets_fit(job, chosen.checkpoint, base),
    ]
    return PreparedModels(replace(chosen, base_models=bases, checkpoint_sha256=digest), files, tuple(warnings))


def _chosen(
    job: Generation,
    plan: ModelPlan,
    models: ByPath,
    files: Sequence[ResolvedModel],
    store: ModelStore,
    backend: Backend,
) -> tuple[Chosen, list[LorasOfPass], list[str]]:
    """Return every name as the WebUI knows it, the LoRAs of ADetailer's passes, and warnings.

    Raises:
        ModelNotFound: the WebUI does not list a model.
        InvalidInput: the WebUI would take another file for one, or would not apply it as the job says.
    """
    catalog, names = backend.catalog, plan.names
    checkpoint = resolved_models.checkpoint(
        job, models, catalog, backend.started_model_title or backend.started_model_name
    )
    refiner = resolved_models.other_checkpoint("refiner_checkpoint", job, models, catalog)
    hr_checkpoint = resolved_models.other_checkpoint("hr_checkpoint_name", job, models, catalog)
    refines_nothing: list[Problem] = []
    if refiner == checkpoint and hr_checkpoint in (None, checkpoint):
        refines_nothing.append(
            Problem(job.path("refiner_checkpoint"), "is the checkpoint itself, which refines nothing")
        )
        refiner = None
    loras = resolved_models.loras(job, models, catalog)
    tags_known = plan.tagged.names(models)
    tagged, wrong_tags = lora_tags.tagged_loras(_tagged_texts(job, names), catalog, tags_known)
    passes, wrong_tags_in_passes = pass_models.loras_of_passes(names, catalog, tags_known)
    problems = [
        *wrong_tags,
        *wrong_tags_in_passes,
        *lora_tags.twice(tagged, loras),
        *resolved_models.ambiguous_files(files, catalog, store.volume),
        *([] if job.lenient else refines_nothing),
    ]
    if problems:
        raise InvalidInput(problems)
    words = resolved_models.trigger_words(job, models)
    chosen = Chosen(
        checkpoint=checkpoint,
        sampling=names.sampling,
        hr_sampling=names.hr_sampling,
        vae=resolved_models.vae(job, models, catalog),
        loras=loras,
        tagged=tagged,
        renamed={tag: name for tag, name in tags_known.items() if tag != name},
        words_before=words.before,
        words=words.after,
        refiner=refiner,
        hr_checkpoint=hr_checkpoint,
        hr_upscaler=names.hr_upscaler,
        options=names.options,
        styles=names.styles,
        styled=names.styled,
        in_passes=tuple(dict.fromkeys(lora for each in passes for lora in each.own)),
    )
    return chosen, pass_models.with_brought(passes, job, chosen), [str(each) for each in refines_nothing]


def _fit(
    loras: Sequence[ChosenLora], checkpoint: Checkpoint, bases: dict[str, str], store: ModelStore, backend: Backend
) -> list[str]:
    """Return warnings for LoRAs that may not fit their checkpoint. Raises IncompatibleModel for those that don't."""
    if not loras:
        return []
    base, _ = model_compatibility.facts_of(checkpoint, store)
    unfit = {lora for model, lora in backend.incompatible_loras if model == checkpoint.name}
    others = partial(model_compatibility.loras_for, base, backend.catalog, store)
    return model_compatibility.loras_fit(loras, checkpoint, base, bases, unfit, others=others)


def _rules_on_loras(
    job: Generation,
    chosen: Chosen,
    in_passes: Sequence[LorasOfPass],
    files: Sequence[ResolvedModel],
    store: ModelStore,
) -> tuple[list[Problem], list[str]]:
    """Return the problems and warnings that the operator's rules have with the LoRAs of a picture and its passes."""
    together = [] if job.disable_extra_networks else [(*chosen.tagged, *chosen.loras)]
    together += [(*each.brought, *each.own) for each in in_passes if each.own]
    problems: list[Problem] = []
    warnings: list[str] = []
    for loras in together:
        wrong, said = _rules_on(loras, files, store)
        problems += wrong
        warnings += said
    return list(dict.fromkeys(problems)), list(dict.fromkeys(warnings))


def _rules_on(
    loras: Sequence[ChosenLora], files: Sequence[ResolvedModel], store: ModelStore
) -> tuple[list[Problem], list[str]]:
    known = {each.file.name: each.file.file for each in files if each.kind == "lora" and each.file is not None}
    used: dict[str, UsedLora] = {}
    for lora in loras:
        other = used.get(lora.name)  # hires fix has a prompt, and so tags, of its own
        if other is None or abs(lora.scale) > abs(other.scale):
            used[lora.name] = UsedLora(lora.path, known.get(lora.name, lora.name), lora.scale)
    return store.lora_rules.check(list(used.values())) if used else ([], [])


def _referenced(job: Generation) -> list[ResolvedModel]:
    """Return the models that the job's own fields name."""
    found: list[ResolvedModel] = []
    if job.checkpoint is not None:
        found.append(ResolvedModel(job.path("checkpoint"), job.checkpoint, "checkpoint"))
    if job.vae is not None and job.vae.ref.casefold() not in resolved_models.VAE_WORDS:
        found.append(ResolvedModel(job.path("vae"), job.vae, "vae"))
    found += [ResolvedModel(f"{job.path('loras')}[{i}]", ref, "lora") for i, ref in enumerate(job.loras or ())]
    found += [
        ResolvedModel(f"{job.path('embeddings')}[{i}]", ref, "embedding") for i, ref in enumerate(job.embeddings or ())
    ]
    if job.refiner_checkpoint is not None:
        found.append(ResolvedModel(job.path("refiner_checkpoint"), job.refiner_checkpoint, "checkpoint"))
    if isinstance(job, Txt2Img) and job.hr_checkpoint_name is not None:
        found.append(ResolvedModel(job.path("hr_checkpoint_name"), job.hr_checkpoint_name, "checkpoint"))
    return found


def _removed_kinds(job: Generation, store: ModelStore, backend: Backend) -> set[ModelKind]:
    """Return the kinds of which the job names a file that the WebUI still lists, but that is not there any more.

    Raises VolumeUnavailable: their folder is gone. The WebUI, told to look anew, would forget all that it lists.
    """
    catalog = backend.catalog
    tags = resolve_names(job, catalog, backend.plan.weights).tags
    models = [*_referenced(job), *pass_models.indirect(job, store, catalog)]
    named: list[tuple[str, ModelKind]] = [(model.ref.ref, model.kind) for model in models]
    named += [(name, "lora") for name in sorted({tag.name for _, tag in tags if tag.kind in lora_tags.LORA_KINDS})]
    gone = {kind for name, kind in named if resolved_models.is_gone(name, kind, catalog, store.volume)}
    for kind in sorted(gone):
        store.availability.require(kind)
    return gone


def _tagged_texts(job: Generation, names: JobNames) -> Sequence[tuple[str, str]]:
    """Return the prompts whose tags the WebUI reads, ``(path in the job, prompt)``."""
    return () if job.disable_extra_networks else names.prompts


def _tags_without_effect(
    job: Generation, names: JobNames, tagged: TaggedLoras, store: ModelStore, catalog: Catalog
) -> list[Problem]:
    """Return a problem for each tag that would do nothing. Raises VolumeUnavailable: that can't be told."""
    expected = tagged.expected()
    problems = lora_tags.tagged_loras(_tagged_texts(job, names), catalog, expected)[1]
    problems += pass_models.loras_of_passes(names, catalog, expected)[1]
    if problems:
        store.availability.require("lora")
    return problems


def _on_the_volume(
    wanted: list[ResolvedModel], store: ModelStore, catalog: Catalog
) -> tuple[list[ResolvedModel], list[Problem], list[Problem]]:
    """Return the models with their files, a problem for each that nobody knows, and for each that can't be.

    Raises:
        ModelDamaged: the volume has a name, with nothing behind it.
        VolumeUnavailable: that can't be told.
    """
    models: list[ResolvedModel] = []
    unknown: list[Problem] = []
    wrong: list[Problem] = []
    for want in wanted:
        try:
            located = _locate(want, store, catalog)
        except InvalidInput as error:
            wrong += error.problems
            continue
        if isinstance(located, Problem):
            unknown.append(located)
        else:
            models.append(located)
    return models, unknown, wrong


def _locate(want: ResolvedModel, store: ModelStore, catalog: Catalog) -> ResolvedModel | Problem:
    """Return `want` with its file if it has one yet, a problem where nobody knows it. Raises like `_on_the_volume`."""
    choice = store.resolve(want.ref, want.kind, path=want.path)
    file = store.find(want.ref, want.kind, path=want.path)
    if file is not None or choice.locators or resolved_models.is_listed(want, catalog, store.volume):
        return replace(want, file=file)
    if store.search_files_for_hash(want.ref, want.kind):
        file = store.find(want.ref, want.kind, path=want.path)
    if file is not None:
        return replace(want, file=file)
    if choice.file is not None:
        store.availability.require(want.kind, file=choice.file, path=want.path)
        raise nothing_in(choice, path=want.path)
    return _unknown(store.not_found(choice, want.ref), want, catalog)


def _unknown(error: ModelNotFound, want: ResolvedModel, catalog: Catalog) -> Problem:
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
