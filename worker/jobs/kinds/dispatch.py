"""Registry of the kinds of job that make no pictures: a new kind is a module beside this one and a line here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from worker.contract.types.composed.workflow import Continue, Workflow
from worker.contract.types.kinds import (
    ControlMaps,
    Interrogate,
    JudgeImages,
    Listing,
    PngInfo,
    Prefetch,
    Refresh,
    Validate,
    WebUIGet,
    register,
)
from worker.contract.types.model_jobs import ModelsList, ModelsPrefetch, ModelsRemove
from worker.jobs.kinds import control_maps, image_info, judge_images, listings, validate, volume_models
from worker.jobs.workflow import continuation, workflow_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.types.job import Job
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices


class JobKind(Protocol):
    """A kind of job: a function that answers it."""

    async def __call__(self, job: Any, context: JobContext, services: JobServices, /) -> dict[str, Any]:
        """Return the fields of the answer that are special to this kind; raises WorkerError."""


KINDS: Mapping[type[Job], JobKind] = {
    Interrogate: image_info.interrogate,
    PngInfo: image_info.png_info,
    JudgeImages: judge_images.judge_images,
    ControlMaps: control_maps.control_maps,
    Listing: listings.listing,
    WebUIGet: listings.raw,
    Refresh: listings.refresh,
    Prefetch: volume_models.prefetch,
    ModelsList: volume_models.manage,
    ModelsPrefetch: volume_models.manage,
    ModelsRemove: volume_models.manage,
    Validate: validate.validate,
    Workflow: workflow_job.run_workflow,
    Continue: continuation.continue_workflow,
}
"""Type of a job → the function that answers it."""

for _kind in KINDS:
    register(_kind)


async def answer(job: Job, context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return the fields of the answer that are special to the kind of `job`."""
    return await KINDS[type(job)](job, context, services)
