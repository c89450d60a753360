"""Jobs that have pictures judged; nothing is generated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.jobs.judging.job_panel import panel_for
from worker.judges.panel import JudgedPictures

if TYPE_CHECKING:
    from worker.contract.types.kinds import JudgeImages
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices


async def judge_images(job: JudgeImages, context: JobContext, services: JobServices) -> dict[str, Any]:
    """Return what the judges say about each of the job's pictures.

    Raises:
        InvalidInput: a picture, a judge or the references can't be had; names the field.
    """
    panel = await panel_for(job, "", context, services)
    judged = JudgedPictures(panel.distinct)
    with context.phases.phase("judge"):
        for index, text in enumerate(job.images):
            path = job.path(f"images[{index}]")
            images = await services.inputs.load_images({path: text}, context)
            judged.add(await services.threads.run(panel.look, images[path]))
    return {
        "judged": [{"index": index, **one.to_json()} for index, one in enumerate(judged.judgements)],
        "accepted": judged.accepted,
        "average": judged.average(),
        "judges": panel.models,
    }
