"""Generation of one plain job's pictures: prepared, generated until they are right, checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from worker.errors import Cancelled, InvalidInput, ModelNotFound, Problem, WorkerError
from worker.jobs.picture_facts import facts_of_generation
from worker.jobs.prepare.generation_request import build_request, webui_progress
from worker.jobs.prepare.recommendations import advice, recommended_for
from worker.jobs.results import Generated, apply_image_check
from worker.models.volume.integrity import measure
from worker.webui.previews import with_previews
from worker.webui.request.body import with_baseline
from worker.webui.result.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from worker.contract.types.job import Generation
    from worker.jobs.cache.result_cache import ResultCache
    from worker.jobs.cache.settled_request import RequestDigest
    from worker.jobs.inputs import InputLoader, JobInputs
    from worker.jobs.job_context import JobContext, JobThreads
    from worker.jobs.model_files import ModelFiles
    from worker.jobs.operator_config import OperatorConfig
    from worker.jobs.picture_facts import ImageFacts
    from worker.jobs.prepare.model_preparation import ModelPlan, ModelPreparation, PreparedModels
    from worker.jobs.prepare.resolved_models import ResolvedModel
    from worker.models.store import ModelStore
    from worker.recovery.retry import Executor
    from worker.settings import Settings
    from worker.webui.backend import Backend
    from worker.webui.request.body import Request


@dataclass(frozen=True, slots=True)
class PreparedJob:
    """A plain job with everything that its generation needs.

    Attributes:
        job: With its publisher's recommendations, where it wants them.
        models: Its names and models.
        request: For the WebUI.
        warnings: For the client.
    """

    job: Generation
    models: PreparedModels
    request: Request
    warnings: tuple[str, ...]


class ImageGeneration:
    """The stages of a plain job that make its pictures; one for the worker's life.

    Args:
        settings: The worker's.
        backend: The WebUI, ready.
        executor: Repeats failed attempts.
        store: The model files.
        inputs: Loads the client's own pictures.
        operator: Rules on prompts, and the image check.
        models: Prepares models.
        files: Holds them.
        cache: Results of earlier requests.
        digest: Tells equal requests.
        threads: For everything that blocks.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        backend: Backend,
        executor: Executor,
        store: ModelStore,
        inputs: InputLoader,
        operator: OperatorConfig,
        models: ModelPreparation,
        files: ModelFiles,
        cache: ResultCache,
        digest: RequestDigest,
        threads: JobThreads,
    ) -> None:
        self._live_previews = settings.live_previews
        self._max_pixels = settings.batch_pixels
        self._backend = backend
        self._executor = executor
        self._store = store
        self._inputs = inputs
        self._operator = operator
        self._models = models
        self._files = files
        self._cache = cache
        self._digest = digest
        self._threads = threads

    async def prepare(self, job: Generation, context: JobContext, inputs: JobInputs | None = None) -> PreparedJob:
        """Return the job with its models in place and its request built.

        Args:
            job: A plain job.
            context: Its context.
            inputs: Its pictures; None: those that it carries or points at.

        Raises:
            WorkerError: a mistake in the job, a model that can't be had, or no time left.
        """
        job, warnings = await self._with_operator_rules(job)
        with context.phases.phase("prepare"):
            models, loaded = await context.before_deadline(
                self._executor.outlast_restart(lambda: self._with_models(job, context, inputs), context.deadline)
            )
            await self._files.hold(models.models, context, loaded=self._backend.started_model_name)
            return await self._build(job, models, loaded, warnings)

    async def with_inputs(self, prepared: PreparedJob, changes: Mapping[str, Any], inputs: JobInputs) -> PreparedJob:
        """Return `prepared` with other pictures and fields that need no other models: its request built anew.

        Raises:
            InvalidInput: see `build_request`.
        """
        return await self._build(prepared.job.changed(changes), prepared.models, inputs, list(prepared.warnings))

    async def mistakes_in_names(self, job: Generation) -> list[Problem]:
        """Return what is wrong with the models and other names of a job that has mistakes of other kinds."""
        try:
            await self._models.plan(job)
        except (InvalidInput, ModelNotFound) as error:
            return _problems(error)
        except WorkerError:
            return []  # the mistakes that are known are answer enough
        return []

    async def refuse_mistakes(self, jobs: Iterable[Generation], context: JobContext) -> None:
        """Refuse the mistakes in the models and other names of several plain jobs together, each told once.

        Raises:
            InvalidInput, ModelNotFound: every one of them.
            WorkerError: no time left, or a volume or a WebUI that does not come back.
        """
        wrong: dict[Problem, None] = {}
        unknown: dict[Problem, None] = {}
        for job in jobs:
            planned = self._executor.outlast_restart(partial(self._models.plan, job), context.deadline)
            try:
                await context.before_deadline(planned)
            except InvalidInput as error:
                wrong |= dict.fromkeys(error.problems)
            except ModelNotFound as error:
                unknown |= dict.fromkeys(_problems(error))
        if wrong:
            raise InvalidInput([*wrong, *unknown])
        if unknown:
            raise ModelNotFound(
                "; ".join(map(str, unknown)), details={"problems": [problem.to_json() for problem in unknown]}
            )

    async def generate(self, prepared: PreparedJob, context: JobContext) -> Generated:
        """Return the pictures, those of an equal request where the cache has them.

        Raises:
            WorkerError: they can't be made.
        """
        digest = partial(self._digest.of_generation, prepared.request, prepared.models, context.target)
        result = await self._cache.result(digest, lambda: self._generate_until_right(prepared, context), context)
        facts = await self._threads.run(self._facts, prepared, result)
        return replace(result, warnings=(*prepared.warnings, *result.warnings), facts=facts)

    async def _generate_until_right(self, prepared: PreparedJob, context: JobContext) -> Generated:
        """Return the pictures, proven to be what was asked for; failed attempts are repeated where that may help."""
        attempts = await self._executor.attempts(prepared.request, deadline=context.deadline, phases=context.phases)
        while True:
            request = attempts.request
            try:
                made = await attempts.generate(webui_progress(request, context.on_progress), context.interruption)
                context.interruption.note_pictures()
                with context.phases.phase("check"):
                    verified = await self._threads.run(
                        verify,
                        made,
                        request,
                        job=prepared.job,
                        chosen=prepared.models.chosen,
                        backend=self._backend,
                    )
            except WorkerError as error:
                failure = await attempts.recover(error)
                if context.interruption.is_ended:
                    raise Cancelled("the job was ended by its client, and what was made by then is lost") from error
                await self._files.refetch(prepared.models.models, context, failure)
            else:
                attempts.succeeded()
                return Generated(
                    pictures=verified.pictures,
                    seeds=verified.seeds,
                    applied=verified.applied,
                    info=made.answer.info,
                    parameters=request.parameters(),
                    warnings=(*verified.warnings, *attempts.notes),
                    extras=verified.extras,
                    is_whole=not made.is_cut_short,
                )

    def _facts(self, prepared: PreparedJob, result: Generated) -> tuple[ImageFacts, ...]:
        """Return the facts about each picture, with hashes of LoRAs where the client wants them. Blocking."""
        models, wanted = prepared.models, bool(prepared.job.output.metadata)
        if wanted:
            models = replace(models, models=tuple(self._with_hash(each) for each in models.models))
        return facts_of_generation(prepared.job, models, result, repeatable=wanted)

    def _with_hash(self, model: ResolvedModel) -> ResolvedModel:
        """Return a LoRA with the hash of its file, measured once. Blocking."""
        if model.kind != "lora" or model.file is None or model.file.sha256 is not None:
            return model
        return replace(model, file=replace(model.file, sha256=measure(self._store.inventory, model.file)))

    async def check(self, result: Generated, context: JobContext) -> Generated:
        """Return the pictures that the operator's image check lets pass; the GPU has been given on.

        Raises:
            ImageCheckFailed: the check did not work.
        """
        gate = self._operator.gate
        if gate is None:
            return result
        with context.phases.phase("check"):
            return await self._threads.run(apply_image_check, gate, result)

    async def dry_run(
        self, job: Generation, context: JobContext, inputs: JobInputs | None = None
    ) -> PreparedJob | ModelPlan:
        """Return the job as it would be generated, or, where models would be fetched first, the plan that names them.

        The arguments are those of `prepare`.

        Raises:
            WorkerError: the job would fail.
        """
        job, warnings = await self._with_operator_rules(job)
        plan, loaded = await self._plan_models(job, context, inputs)
        if plan.missing:
            return plan
        return await self._build(job, await self._models.finish(job, plan), loaded, warnings)

    async def _with_models(
        self, job: Generation, context: JobContext, inputs: JobInputs | None
    ) -> tuple[PreparedModels, JobInputs]:
        """Return the job's models, in their places, and its pictures."""
        plan, loaded = await self._plan_models(job, context, inputs)
        return await self._models.finish(job, await self._models.fetch(plan, context.on_progress)), loaded

    async def _plan_models(
        self, job: Generation, context: JobContext, inputs: JobInputs | None
    ) -> tuple[ModelPlan, JobInputs]:
        """Return the plan for the job's models, and its pictures; nothing is fetched before both are right.

        Raises:
            InvalidInput, ModelNotFound: every mistake in names and in pictures.
        """
        try:
            plan = await self._models.plan(job)
        except (InvalidInput, ModelNotFound) as wrong:
            try:
                await self._load_inputs(job, context, inputs)
            except InvalidInput as more:
                raise InvalidInput([*_problems(wrong), *more.problems], hint=wrong.hint) from None
            raise
        return plan, await self._load_inputs(job, context, inputs)

    async def _load_inputs(self, job: Generation, context: JobContext, inputs: JobInputs | None) -> JobInputs:
        return inputs or await self._inputs.load(job, context)

    async def _build(
        self, job: Generation, models: PreparedModels, inputs: JobInputs, warnings: list[str]
    ) -> PreparedJob:
        if external := self._backend.plan.is_external:
            await self._backend.refresh_baseline()
        request = await self._threads.run(
            build_request, job, models.chosen, inputs, self._backend, max_pixels=self._max_pixels
        )
        if external:
            request = with_baseline(request, self._backend.baseline)
        request, unwatched = self._with_previews(job, request)
        said = (*warnings, *unwatched, *models.warnings, *inputs.warnings)
        return PreparedJob(job, models, request, said)

    async def _with_operator_rules(self, job: Generation) -> tuple[Generation, list[str]]:
        """Return the job with its publisher's recommendations, where it wants them, and warnings.

        Raises:
            InvalidInput: the operator's rules refuse a prompt.
        """
        warnings = await self._threads.run(self._operator.check, job) if self._operator.rules else []
        if not job.recommended:
            return job, warnings
        found = await self._threads.run(recommended_for, job, self._store, self._backend.started_model_name)
        changes = advice(job, found) if found is not None else {}
        said = ", ".join(f"{name}={value}" for name, value in changes.items()) or "nothing is known"
        return job.changed(changes), [*warnings, f"recommended for this checkpoint: {said}"]

    def _with_previews(self, job: Generation, request: Request) -> tuple[Request, list[str]]:
        """Return the request with live previews where they are wanted and allowed, and a warning where not allowed."""
        if not job.live_previews:
            return request, []
        gate = self._operator.gate
        if gate is not None and gate.action != "flag":
            return request, ["live_previews: none are told where pictures are checked before they are"]
        if self._live_previews == "off":
            return request, ["live_previews: this endpoint makes none (LIVE_PREVIEWS)"]
        return with_previews(request, self._live_previews), []


def _problems(error: InvalidInput | ModelNotFound) -> list[Problem]:
    """Return the mistakes in names that `error` tells."""
    if isinstance(error, InvalidInput):
        return error.problems
    return [Problem(**problem) for problem in error.details.get("problems", ())]
