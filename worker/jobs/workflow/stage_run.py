"""Run of a workflow's stages, one after the other: each picture of a stage becomes the job of the next."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.common.interruption import Interruption
from worker.contract.types.composed.workflow import start_reference
from worker.contract.types.job import LARGEST_SEED, Generation
from worker.contract.types.kinds import Upscale
from worker.errors import ImageRefused, WorkerError
from worker.jobs.job_context import cache_use
from worker.jobs.job_services import LARGEST_DRAWN_SEED
from worker.jobs.judging.until_accepted import UntilAccepted
from worker.jobs.plain_job import make_larger, make_pictures
from worker.jobs.results import PartResult, merge_results
from worker.jobs.workflow.judge_stage import NO_PICTURES, JudgeStage
from worker.jobs.workflow.kept_stages import KeptStages
from worker.jobs.workflow.stage_jobs import COPIED_FIELDS, StagePicture, first_job, later_job
from worker.telemetry.phases import Phases
from worker.telemetry.progress import share_of, within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.types.composed.workflow import Continue, Stage, Workflow
    from worker.contract.types.job import Job
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.jobs.picture_facts import ImageFacts
    from worker.jobs.result_delivery import ResultStream
    from worker.jobs.results import Generated
    from worker.jobs.workflow.workflow_plan import PlannedStage
    from worker.judges.panel import JudgedPictures


@dataclass(frozen=True, slots=True)
class StageResult:
    """The results of a stage.

    Attributes:
        stage: As read.
        result: Its pictures and the facts about them.
        pictures: The same pictures, on their way to the next stage.
        phases: The time that it took.
        stream: Delivers them as they are made, and knows which have been delivered.
    """

    stage: Stage
    result: Generated
    pictures: tuple[StagePicture, ...]
    phases: Phases
    stream: ResultStream


@dataclass(frozen=True, slots=True)
class _Unit:
    """One plain job of a stage, and the picture it begins with."""

    job: Job
    start: StagePicture | None
    path: str


@dataclass(slots=True)
class StageRun:
    """The stages of one job.

    Attributes:
        job: The workflow.
        context: Its context.
        services: The worker's.
        done: What the stages so far have made, in order; filled while they run.
        judged: Pictures that were judged before, by judge stage: the same stages run for one after another.
    """

    job: Workflow | Continue
    context: JobContext
    services: JobServices
    done: list[StageResult] = field(default_factory=list)
    judged: Mapping[str, JudgedPictures] = field(default_factory=dict)

    async def run(self, planned: Sequence[PlannedStage], given: Mapping[str, Sequence[StagePicture]]) -> None:
        """Run the stages; other jobs wait for the GPU meanwhile unless the operator lets them in between.

        Where the client ends the job early, the stage that runs is the last one, or, if it has made nothing yet, the
        one before.

        Args:
            planned: In order.
            given: Pictures that are there, by the stage that made them.

        Raises:
            WorkerError: a stage failed; what was made before is in `done`.
        """
        services, ending = self.services, self.context.interruption
        kept = await services.threads.run(KeptStages, services.kept, self.context.raw)
        made = {name: tuple(pictures) for name, pictures in given.items()}
        judged = [planned_stage for planned_stage in planned if planned_stage.panel is not None]
        judges = {planned_stage.stage.name: await self._judge_stage(planned_stage, kept) for planned_stage in judged}
        with ExitStack() as turns:
            for judge in judges.values():
                turns.callback(judge.give_up)
            if not services.shares_gpu:
                turns.enter_context(services.executor.gpu.reserved())
            for number, planned_stage in enumerate(planned):
                name = planned_stage.stage.name
                context = self._stage_context(planned, number)
                watching = [judges[other.stage.name] for other in judged if other.source == name]
                is_last = planned_stage is planned[-1]
                result = await self._run_one(
                    planned_stage, made, context, kept, judges.get(name), watching, is_last=is_last
                )
                if result is None:
                    break
                self.done.append(result)
                made[name] = result.pictures
                if ending.is_ended:
                    break

    def _stage_context(self, planned: Sequence[PlannedStage], number: int) -> JobContext:
        """Return the context of one stage: its share of the progress, its folder in a store, its own phases.

        The folder of the last stage is the job's own.
        """
        costs = [planned_stage.cost for planned_stage in planned]
        whole, spent = sum(costs) or 1.0, sum(costs[:number])
        on_progress = share_of(self.context.on_progress, spent / whole, (spent + costs[number]) / whole)
        is_last = number == len(planned) - 1
        folder = self.context.id if is_last else f"{self.context.id}.{planned[number].stage.name}"
        return replace(self.context, phases=Phases(), on_progress=on_progress, id=folder)

    async def _run_one(
        self,
        planned: PlannedStage,
        made: Mapping[str, tuple[StagePicture, ...]],
        context: JobContext,
        kept: KeptStages,
        judge: JudgeStage | None,
        watching: Sequence[JudgeStage],
        *,
        is_last: bool,
    ) -> StageResult | None:
        """Return the result of one stage, None where the client ended the job before it made any picture.

        Args:
            planned: The stage.
            made: The pictures so far, by stage.
            context: The stage's own.
            kept: What an earlier run of the job has made.
            judge: What the stage is, where it judges pictures.
            watching: Judge stages that look at its pictures as they are made.
            is_last: No stage follows.

        Raises:
            WorkerError: it failed; the details name it.
        """
        try:
            if planned.source is not None and not made[planned.source]:
                return self._nothing(planned, context)
            if judge is not None:
                judging = partial(self._judge, planned, made, judge, context, kept)
                return await context.interruption.unless_ended(judging)
            return await self._stage(planned, made, context, kept, watching, is_last=is_last)
        except WorkerError as error:
            error.details["stage"] = planned.stage.name
            raise
        finally:
            self.context.phases.add(context.phases)

    async def _judge_stage(self, planned: PlannedStage, kept: KeptStages) -> JudgeStage:
        name = planned.stage.name
        told = await self.services.threads.run(kept.find_outcome, name)
        return JudgeStage(planned, self.services, told, self.judged.get(name))

    def _nothing(self, planned: PlannedStage, context: JobContext) -> StageResult:
        """Return the result of a stage that no picture was left for."""
        stream = self.services.delivery.stream(self.job, context, stage=planned.stage.name)
        return StageResult(planned.stage, NO_PICTURES, (), context.phases, stream)

    async def _judge(
        self,
        planned: PlannedStage,
        made: Mapping[str, tuple[StagePicture, ...]],
        judge: JudgeStage,
        context: JobContext,
        kept: KeptStages,
    ) -> StageResult:
        """Return the pictures that a judge stage lets on."""
        name, services = planned.stage.name, self.services
        pictures = made[planned.source or ""]
        before = next((each.result for each in self.done if each.stage.name == planned.source), None)
        result, chosen, told = await judge.outcome(pictures, before, self.job, context)
        services.threads.pool.submit(kept.keep_outcome, name, told)
        early = len(result.pictures) > services.limits.max_images
        stream = services.delivery.stream(self.job, context, stage=name, early=early)
        async with stream:
            stream.add(PartResult(planned.stage.place, result))
        return StageResult(planned.stage, result, chosen, context.phases, stream)

    async def _stage(
        self,
        planned: PlannedStage,
        made: Mapping[str, tuple[StagePicture, ...]],
        context: JobContext,
        kept: KeptStages,
        watching: Sequence[JudgeStage],
        *,
        is_last: bool,
    ) -> StageResult | None:
        """Return the pictures of a stage, None where the client ended the job before it made any."""
        stage, services, ending = planned.stage, self.services, context.interruption
        units = await self._units(planned, made, kept)
        counts = [1] * len(units)
        parts: list[PartResult] = []
        pictures: list[StagePicture] = []
        early = self._has_many(planned) and (is_last or stage.name in (self.job.output.intermediates or ()))
        stream = services.delivery.stream(self.job, context, stage=stage.name, early=early)
        async with stream:
            for number, unit in enumerate(units):
                result = await services.threads.run(kept.find, stage.name, number)
                if result is None:
                    inner = replace(context, on_progress=within(context.on_progress, number, counts))
                    result = await ending.unless_ended(partial(self._make_unit, unit, stage, inner, stream))
                    if result is None:
                        break
                    if result.is_whole:
                        services.threads.pool.submit(kept.keep, stage.name, number, result)  # the GPU need not wait
                else:
                    stream.add(PartResult(unit.path, result))
                ending.has_pictures = True
                parts.append(PartResult(unit.path, result))
                more = _on_their_way(await self._each_alone(unit, result), result, stage, first=len(pictures))
                pictures += more
                for judge in watching:
                    judge.look([each.picture for each in more])
        if units and not parts:
            return None
        merged = merge_results(parts)
        if merged.checks and not merged.pictures:
            raise ImageRefused(f"the endpoint's image check refused every picture of stage {stage.name!r}")
        return StageResult(stage, merged, tuple(pictures), context.phases, stream)

    def _has_many(self, planned: PlannedStage) -> bool:
        """Return whether a stage has so many pictures that each goes into the store as soon as it is made."""
        return planned.pictures > self.services.limits.max_images

    async def _units(
        self, planned: PlannedStage, made: Mapping[str, tuple[StagePicture, ...]], kept: KeptStages
    ) -> list[_Unit]:
        stage, services = planned.stage, self.services
        if planned.source is None:
            if not isinstance(stage.job, Generation):
                return [_Unit(stage.job, None, stage.place)]
            job = first_job(stage, await self._first_seed(stage.job, kept))
            if job.accept is not None:
                return [_Unit(job, None, stage.place)]  # its own way to several pictures
            plain_jobs = await services.plain_jobs(job, split_batches=self._has_many(planned))
            return [_Unit(plain.job, None, plain.path or stage.place) for plain in plain_jobs]
        units: list[_Unit] = []
        for number, picture in enumerate(made[planned.source]):
            later = later_job(stage, picture)
            jobs: list[Job] = [later]
            if isinstance(later, Generation):
                jobs = [plain.job for plain in await services.plain_jobs(later)]
            units += [_Unit(each, picture, f"{stage.place}[{number}]") for each in jobs]
        return units

    async def _each_alone(self, unit: _Unit, result: Generated) -> list[_Unit]:
        """Return, for each picture, the plain job that makes it: of those that were accepted, the one of their seed."""
        job = unit.job
        if not isinstance(job, Generation) or job.accept is None:
            return [unit] * len(result.pictures)
        alone = [job.changed({"accept": None, "batch_size": None, "seed": seed}) for seed in result.seeds]
        plain = [piece.job for each in alone for piece in await self.services.plain_jobs(each)]
        return [replace(unit, job=each) for each in plain]

    async def _first_seed(self, job: Generation, kept: KeptStages) -> int | None:
        """Return the seed of the first stage; None where several are given."""
        if job.seeds or any(part.seed is not None for part in job.prompts or ()):
            return None
        if job.seed is not None and job.seed >= 0:
            return job.seed
        highest = min(LARGEST_DRAWN_SEED, LARGEST_SEED - max(stage.seed_offset for stage in self.job.plan))
        return await self.services.threads.run(kept.seed, self.services.random.randint(0, highest))

    async def _make_unit(self, unit: _Unit, stage: Stage, context: JobContext, stream: ResultStream) -> Generated:
        """Return the pictures of one plain job, told to `stream`."""
        result = await self._generate_unit(unit, stage, context, stream)
        if getattr(unit.job, "accept", None) is None:
            stream.add(PartResult(unit.path, result))
        return result

    async def _generate_unit(self, unit: _Unit, stage: Stage, context: JobContext, stream: ResultStream) -> Generated:
        if unit.start is not None and stage.source is not None:
            context = replace(context, pictures={start_reference(stage.source): unit.start.picture.data})
        job = unit.job.changed({"output": self.job.output})
        if isinstance(job, Generation):
            if job.accept is not None:
                make = partial(make_pictures, services=self.services)
                whole = replace(context, interruption=Interruption())  # what is judged is not made early
                result = await UntilAccepted(job, whole, self.services, make, stream).run()
            else:
                result = await make_pictures(job, context, self.services)
            return replace(result, facts=tuple(_of_stage(one, stage, unit) for one in result.facts))
        if isinstance(job, Upscale):
            seed = unit.start.seed + stage.seed_offset if unit.start is not None else 0
            result = await make_larger(job, context, self.services)
            facts = tuple(replace(_of_stage(one, stage, unit), seed=seed) for one in result.facts)
            return replace(result, seeds=(seed,), facts=facts)
        raise TypeError(type(job))


def _of_stage(facts: ImageFacts, stage: Stage, unit: _Unit) -> ImageFacts:
    """Return the facts about a stage's picture: the job that makes it again has the picture that it began with."""
    facts = replace(facts, stage=stage.name)
    if unit.start is not None:
        facts = _with_facts_of_start(facts, unit.start)
    if unit.start is not None and unit.start.judged is not None:
        facts = replace(facts, more={**facts.more, "judged": dict(unit.start.judged)})
    if unit.start is None or stage.source is None or not facts.job:
        return facts
    start = unit.start.picture.base64
    if "image" in facts.job:
        return replace(facts, job={**facts.job, "image": start}, brought=["image"])
    return replace(facts, job={**facts.job, "init_images": [start]}, brought=["init_images[0]"])


def _with_facts_of_start(facts: ImageFacts, start: StagePicture) -> ImageFacts:
    """Return the facts of a stage without a prompt with what the picture shows, which an earlier stage made."""
    if facts.prompt is not None:
        return facts
    if start.facts is None:
        return replace(facts, prompt=start.copied.get("prompt"), negative_prompt=start.copied.get("negative_prompt"))
    before = start.facts
    models = before.more.get("models") or facts.more.get("models", {})
    stages = [*before.more.get("stages", ()), *facts.more.get("stages", ())]
    return replace(
        facts,
        prompt=before.prompt,
        negative_prompt=before.negative_prompt,
        loras=before.loras,
        checkpoint=before.checkpoint,
        more={**facts.more, "models": models, "stages": stages},
    )


def _on_their_way(units: Sequence[_Unit], result: Generated, stage: Stage, *, first: int) -> list[StagePicture]:
    """Return pictures with what later stages need to know about each; `units`: the plain job of each."""
    found: list[StagePicture] = []
    seeds = (*result.seeds, *[0] * len(result.pictures))
    for number, (unit, picture) in enumerate(zip(units, result.pictures, strict=True)):
        fact = result.facts[number] if number < len(result.facts) else None
        if unit.start is not None:
            found.append(replace(unit.start, picture=picture, facts=fact))
            continue
        copied: dict[str, Any] = {}
        if isinstance(unit.job, Generation):
            copied = {name: getattr(unit.job, name) for name in COPIED_FIELDS if getattr(unit.job, name) is not None}
        judged = fact.more.get("judged") if fact is not None else None
        seed = max(0, seeds[number] - stage.seed_offset)
        found.append(StagePicture(picture, seed, first + number, copied, judged, fact))
    return found


def first_cache_use(job: Workflow | Continue, planned: Sequence[PlannedStage]) -> Any:
    """Return whether the stages' pictures may come from the cache: not where the first has a random seed."""
    first = planned[0].stage.job if planned and planned[0].source is None else job
    return cache_use(first.changed({"cache": job.cache}))
