"""Jobs that ask what another job would do: its requests, fetches and cost, without doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.contract.accept import accept, inside
from worker.contract.types.composed.workflow import Workflow
from worker.errors import ClientError, InvalidInput
from worker.jobs.kinds.dry_run import dry_run
from worker.jobs.workflow import workflow_plan

if TYPE_CHECKING:
    from worker.contract.types.kinds import Validate
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices


async def validate(job: Validate, context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return the requests, fetches and cost of the job inside `job`.

    Raises:
        InvalidInput, ModelNotFound, IncompatibleModel: it would fail; every mistake of all its parts.
    """
    operator = services.operator
    accepted = accept(
        job.job,
        limits=services.limits_of(context),
        presets=operator.presets,
        workflows=operator.workflows,
        unknown_fields=services.unknown_fields,
    )
    inner = accepted.job
    try:
        await services.delivery.admit(inner, context)
        if isinstance(inner, Workflow):
            return workflow_plan.to_json(inner, await workflow_plan.plan_stages(inner, context, services))
        dry = await dry_run(inner, context, services)
    except InvalidInput as error:
        raise inside(accepted.placed(error)) from None
    except ClientError as error:
        raise inside(error) from None
    return dry.to_json(inner.kind)
