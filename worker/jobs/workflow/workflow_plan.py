"""Plan of a workflow: every stage looked at before any picture is made, with its requests, sizes and cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.contract.rules.field_rules import picture_count
from worker.contract.types.composed.workflow import start_reference
from worker.contract.types.job import Generation
from worker.contract.types.kinds import JudgeImages
from worker.errors import InvalidInput, Problem
from worker.jobs.judging.job_panel import panel_for
from worker.jobs.kinds.dry_run import DryRun, dry_run
from worker.jobs.workflow.stage_jobs import blank_picture, cost_of, expected_size, first_job, scaled

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.rules.sizes import Size
    from worker.contract.types.composed.workflow import Continue, Stage, Workflow
    from worker.contract.types.job import Job
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.judges.panel import Panel


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage that will be run.

    Attributes:
        stage: As read.
        source: The stage that really makes the pictures it begins with, behind those that are switched off.
        dry: Its requests for one of its pictures.
        size: Of its pictures.
        starts: Pictures that it begins with; 1 where it begins with nothing.
        pictures: That it makes.
        cost: Sampling steps x megapixels of all of them.
        panel: The judges of a judge stage.
    """

    stage: Stage
    source: str | None
    dry: DryRun
    size: Size
    starts: int
    pictures: int
    cost: float
    panel: Panel | None = None


def stages_to_run(job: Workflow | Continue, *, after: str | None = None) -> list[Stage]:
    """Return the stages that are run, in order: those that are switched on, up to `until`, behind `after`."""
    plan = list(job.plan)
    names = [stage.name for stage in plan]
    until = getattr(job, "until", None)
    begins = names.index(after) + 1 if after in names else 0
    ends = names.index(until) + 1 if until is not None else len(plan)
    return [stage for stage in plan[begins:ends] if stage.enabled]


def source_of(stage: Stage, job: Workflow | Continue, made: Mapping[str, Any]) -> str | None:
    """Return which of the stages in `made` gives `stage` its pictures: a stage that is off lets its own source pass."""
    source = stage.source
    while source is not None and source not in made:
        source = next((each.source for each in job.plan if each.name == source), None)
    return source


async def plan_stages(
    job: Workflow | Continue,
    context: JobContext,
    services: JobServices,
    *,
    after: str | None = None,
    given: Mapping[str, tuple[Size, int]] | None = None,
    panels: dict[str, Panel] | None = None,
) -> list[PlannedStage]:
    """Return the plan for the stages that are run.

    Args:
        job: The workflow.
        context: Its context.
        services: The worker's.
        after: The stage that has been run already.
        given: Size and number of pictures that are there, by the stages that made them.
        panels: The judges of judge stages, where the job's stages are planned several times; filled.

    Raises:
        InvalidInput, ModelNotFound, IncompatibleModel: a stage would fail; every mistake of all of them.
    """
    planned: list[PlannedStage] = []
    made: dict[str, tuple[Size, int]] = dict(given or {})
    known = panels if panels is not None else {}
    problems: list[Problem] = []
    for stage in stages_to_run(job, after=after):
        source = source_of(stage, job, made)
        start = made[source][0] if source is not None else None
        starts = made[source][1] if source is not None else 1
        size, dry, panel = expected_size(stage, start), DryRun(warnings=list(stage.job.warnings)), None
        try:
            if isinstance(stage.job, JudgeImages):
                panel = known.get(stage.name) or await panel_for(stage.job, "", context, services)
                known[stage.name] = panel
            else:
                dry = await dry_run(
                    _for_one(stage, start), await _with_blank(stage, start, context, services), services
                )
        except InvalidInput as error:
            problems += _of_stage(error, stage) if isinstance(stage.job, JudgeImages) else error.problems
            size = start or size  # what it asks for may be too large even for a blank picture of the stage behind it
        size = dry.size or size
        pictures = starts * _each(stage)
        made[stage.name] = (size, pictures)
        cost = cost_of(stage, size, starts * _at_most(stage))
        planned.append(PlannedStage(stage, source, dry, size, starts, pictures, cost, panel))
    most = services.limits_of(context).max_images
    problems += [
        Problem(each.stage.place, f"makes {each.pictures} pictures; at most {most} are allowed (this endpoint)")
        for each in planned
        if each.pictures > most
    ]
    if problems:
        raise InvalidInput(list(dict.fromkeys(problems)))
    return planned


def _of_stage(error: InvalidInput, stage: Stage) -> list[Problem]:
    """Return the problems of criteria with their paths as the client wrote them."""
    return [replace(problem, path=stage.job.path(problem.path)) for problem in error.problems]


def _each(stage: Stage) -> int:
    """Return how many pictures a stage makes of one: a judge stage as many as it gets, at most."""
    if not isinstance(stage.job, Generation):
        return 1
    return stage.job.accept.wanted if stage.job.accept is not None else picture_count(stage.job)


def _at_most(stage: Stage) -> int:
    """Return how many pictures a stage may have to make of one, those that are not accepted with them."""
    accept = getattr(stage.job, "accept", None)
    return accept.most if accept is not None else _each(stage)


def _for_one(stage: Stage, start: Size | None) -> Job:
    if start is None:
        return first_job(stage, None)
    changes: dict[str, Any] = {}
    if "seed" in type(stage.job).model_fields:
        seed = getattr(stage.job, "seed", None)
        changes["seed"] = max(0, seed or 0) + stage.seed_offset
    if stage.scale is not None:
        changes |= scaled(start, stage.scale)
    return stage.job.changed(changes)


async def _with_blank(stage: Stage, start: Size | None, context: JobContext, services: JobServices) -> JobContext:
    if start is None or stage.source is None:
        return context
    blank = await services.threads.run(blank_picture, start)
    return replace(context, pictures={start_reference(stage.source): blank})


def to_json(job: Workflow, planned: Sequence[PlannedStage]) -> dict[str, Any]:
    """Return the answer of `validate`: every request of every stage, and what all of it costs."""
    requests: list[dict[str, Any]] = []
    total = {"pictures": 0, "steps": 0, "megapixel_steps": 0.0}
    for each in planned:
        told = each.dry.to_json(each.stage.job.kind)
        requests += [{"stage": each.stage.name, "times": each.starts, **request} for request in told["requests"]]
        for name, value in told["cost"].items():
            total[name] += value * each.starts
    return {
        "valid": True,
        "type": job.kind,
        "requests": requests,
        "fetch": [each for stage in planned for each in stage.dry.fetch],
        "cost": {
            **total,
            "megapixel_steps": round(total["megapixel_steps"], 3),
            "stages": {each.stage.name: round(each.cost, 3) for each in planned},
        },
        "warnings": list(dict.fromkeys([*job.warnings, *(w for stage in planned for w in stage.dry.warnings)])),
    }
