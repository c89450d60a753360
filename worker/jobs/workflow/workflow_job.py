"""Workflow jobs: their stages run, and the answer that tells of each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.common.clock import running
from worker.contract.types.job import Output
from worker.errors import Cancelled, InvalidInput, WorkerError
from worker.jobs.plain_job import ENDED_WITH_NOTHING
from worker.jobs.workflow.stage_run import StageRun, first_cache_use
from worker.jobs.workflow.workflow_plan import plan_stages
from worker.jobs.workflow.workflow_record import record_of, write_record
from worker.storage.store_errors import StoreError
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.contract.types.composed.workflow import Continue, Workflow
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.jobs.workflow.stage_run import StageResult
    from worker.jobs.workflow.workflow_plan import PlannedStage


_LEFT_BEHIND_S = 10.0
"""Time for the pictures of the stages before, where that of the job is over: else they would be lost with it."""


async def run_workflow(job: Workflow, context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return the answer to a workflow.

    Raises:
        InvalidInput: mistakes of any stage, before anything is made.
        WorkerError: a stage failed; `details.stages_done` tells what was made before.
    """
    with context.phases.phase("prepare"):
        planned = await plan_stages(job, context, services)
    _require_room(job, planned, services)
    await services.delivery.admit_rejected(job, context)
    run = StageRun(job, replace(context, cache=first_cache_use(job, planned)), services)
    try:
        await run.run(planned, {})
    except WorkerError as error:
        error.details["stages_done"] = await _left_behind(run, context, services)
        raise
    if not run.done:
        raise Cancelled(ENDED_WITH_NOTHING)
    answer = describe(job, run.done, context)
    if run.done[-1].stage.name != planned[-1].stage.name:
        answer["warnings"].insert(
            0, f"ended early by the client: {run.done[-1].stage.name} is the last stage that was run"
        )
    return await _delivered(answer, run, context, services)


def _require_room(job: Workflow, planned: Sequence[PlannedStage], services: JobServices) -> None:
    """Raise InvalidInput where so many pictures are made that only a store can take them, and none is to."""
    shown = {planned[-1].stage.name, *(job.output.intermediates or ())}
    most = services.limits.max_images
    if job.output.delivery == "base64" and any(each.pictures > most for each in planned if each.stage.name in shown):
        raise InvalidInput.at("output.delivery", f"more than {most} pictures go into a store only; send s3 or none")


def describe(job: Workflow | Continue, done: Sequence[StageResult], context: JobContext) -> dict[str, Any]:
    """Return the answer to a workflow without its pictures.

    Args:
        job: The workflow.
        done: Its stages that were run.
        context: Its context.
    """
    last = done[-1].result
    by_name = {each.stage.name: each for each in done}
    stages: list[dict[str, Any]] = []
    for stage in job.plan:
        entry: dict[str, Any] = {"name": stage.name, "type": stage.job.kind}
        made = by_name.get(stage.name)
        if made is None:
            stages.append({**entry, "skipped": True})
            continue
        entry |= {"seeds": list(made.result.seeds), "applied": made.result.applied, "phase_ms": made.phases.to_json()}
        entry |= {"seed_offset": stage.seed_offset} if stage.seed_offset else {}
        entry |= {"cached": made.result.cached} if made.result.cached else {}
        stages.append({**entry, **made.result.judging})
    warnings = [f"{each.stage.name}: {warning}" for each in done for warning in each.result.warnings]
    checks = [check for each in done if each.result.judging for check in each.result.checks or ()]
    checks += (last.checks or ()) if not last.judging else ()
    return {
        "images": [],
        "pictures": [one.row(index) for index, one in enumerate(last.facts)],
        "seeds": list(last.seeds),
        "applied": last.applied,
        "info": dict(last.info),
        "parameters": dict(last.parameters),
        "stages": stages,
        "warnings": [*job.warnings, *dict.fromkeys(warnings)],
        "worker": dict(context.worker),
        **({"parts": list(last.parts)} if last.parts else {}),
        **({"checks": checks} if checks or last.checks is not None else {}),
        **({"cached": last.cached} if last.cached else {}),
    }


async def _delivered(
    answer: dict[str, Any], run: StageRun, context: JobContext, services: JobServices
) -> dict[str, Any]:
    """Return `answer` with the last pictures, and those of the stages that the client wants to see."""
    job, delivery, last = run.job, services.delivery, run.done[-1]
    entries = {stage["name"]: stage for stage in answer["stages"]}
    for each in run.done[:-1]:
        if each.stage.name not in (job.output.intermediates or ()):
            continue
        place = replace(context, id=f"{context.id}.{each.stage.name}")
        rows = [one.row(index) for index, one in enumerate(each.result.facts)]
        rest = {**answer, "pictures": rows, "warnings": []}
        made = await delivery.deliver(rest, each.result, job, place, each.stream.streamed)
        entries[each.stage.name].update({name: made[name] for name in ("images", "keys") if made.get(name)})
        answer["warnings"] += made["warnings"]
    if job.stream:
        answer["streamed"] = sum(each.stream.told for each in run.done)
        lost = sum(each.stream.lost for each in run.done)
        answer["warnings"] += [f"{lost} pieces could not be streamed"] if lost else []
    answer = await delivery.deliver(answer, last.result, job, context, last.stream.streamed)
    if answer.get("keys") and last.result.is_whole:  # nobody goes on with unfinished pictures
        record = record_of(job, last.stage.name, last.pictures, answer["keys"])
        await services.threads.run(_write, services, context, record)
    return answer


def _write(services: JobServices, context: JobContext, record: Any) -> None:
    store = services.delivery.stored(context)
    if store is None:
        return
    try:
        write_record(store, context.id, record)
    except StoreError as error:  # the pictures are there: only `continue` has to be told the stages
        get_logger("workflow").warning("the record of a workflow could not be stored", error=error.failure.code)


async def _left_behind(run: StageRun, context: JobContext, services: JobServices) -> list[dict[str, Any]]:
    """Return what the stages before a failed one have made; their pictures go into the store where there is one."""
    told: list[dict[str, Any]] = []
    for each in run.done:
        entry: dict[str, Any] = {
            "name": each.stage.name,
            "type": each.stage.job.kind,
            "seeds": list(each.result.seeds),
            "applied": each.result.applied,
        }
        if (context.target or services.delivery.operators_store) is not None:
            hidden = run.job.changed({"output": Output(delivery="none")})
            until = max(context.deadline, running() + _LEFT_BEHIND_S)
            place = replace(context, id=f"{context.id}.{each.stage.name}", deadline=until)
            try:
                stored = await services.delivery.deliver(
                    {"warnings": []}, each.result, hidden, place, each.stream.streamed
                )
                entry["keys"] = stored.get("keys", [])
            except WorkerError as error:
                entry["error"] = error.to_answer()
        told.append(entry)
    return told
