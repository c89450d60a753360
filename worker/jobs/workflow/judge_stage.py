"""Judge stages: pictures looked at on the CPU while the GPU makes the next ones, and those that are accepted go on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.common.clock import running
from worker.errors import DeadlineExceeded, DeliveryFailed
from worker.jobs.judging.job_panel import look_at
from worker.jobs.judging.until_accepted import checks_of, with_scores
from worker.jobs.results import Generated, select_pictures
from worker.judges.panel import JudgedPictures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.types.job import Job
    from worker.images.formats.picture import Picture
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.jobs.workflow.stage_jobs import StagePicture
    from worker.jobs.workflow.workflow_plan import PlannedStage
    from worker.judges.panel import Looked, Panel

NO_PICTURES = Generated((), (), {}, {}, {})
"""The result of a stage that nothing was left for."""


class JudgeStage:
    """One judge stage on its way.

    Args:
        planned: The stage, with its panel.
        services: The worker's.
        told: Outcome of an earlier run of this very job: its choice stands, whatever a judge would say today.
        before: Pictures that are judged already, where near-duplicates are told across several runs.
    """

    def __init__(
        self,
        planned: PlannedStage,
        services: JobServices,
        told: Mapping[str, Any] | None = None,
        before: JudgedPictures | None = None,
    ) -> None:
        if planned.panel is None:
            raise AssertionError("a judge stage is planned with its panel")
        self._stage = planned.stage
        self._panel: Panel = planned.panel
        self._services = services
        self._told = told
        self._judged = before if before is not None else JudgedPictures(planned.panel.distinct)
        self._looks: list[asyncio.Future[list[Looked]]] = []

    def look(self, pictures: Sequence[Picture]) -> None:
        """Begin to look at pictures of the stage that this one judges, in their order."""
        if self._told is None:
            self._looks += [
                asyncio.ensure_future(look_at([picture], self._panel, self._services)) for picture in pictures
            ]

    def give_up(self) -> None:
        """Look at nothing more."""
        for look in self._looks:
            look.cancel()

    async def outcome(
        self, pictures: Sequence[StagePicture], made: Generated | None, job: Job, context: JobContext
    ) -> tuple[Generated, tuple[StagePicture, ...], dict[str, Any]]:
        """Return the pictures that go on, in both shapes, and the outcome as it is kept for a repeat of the job.

        Args:
            pictures: All pictures that are judged.
            made: The result that they are of; None: they were there before the job.
            job: The workflow.
            context: The stage's.

        Raises:
            DeadlineExceeded: the job's time was over first.
        """
        told = self._told
        if told is None or len(told["judged"]) != len(pictures):
            with context.phases.phase("judge"):
                self.look([each.picture for each in pictures[len(self._looks) :]])
                told = await self._judgements(pictures, job, context)
        accepted = [place for place, one in enumerate(told["judged"]) if one["accepted"]]
        places = accepted if self._stage.keep == "accepted" else list(range(len(pictures)))
        result = select_pictures(made or _given(pictures), places)
        judged = [told["judged"][place] for place in places]
        said = f"{len(accepted)} of {len(pictures)} pictures were accepted"
        few = len(accepted) < len(pictures) and self._stage.keep == "accepted"
        result = replace(
            with_scores(result, judged),
            warnings=(*((said,) if few else ()), *told["warnings"]),
            checks=tuple(told["checks"]) if told["checks"] else None,
            judging={
                "judged": told["judged"],
                "accepted": len(accepted),
                "average": told["average"],
                "judges": self._panel.models,
            },
            facts=tuple(replace(fact, stage=self._stage.name) for fact in with_scores(result, judged).facts),
        )
        chosen = tuple(replace(pictures[place], judged=told["judged"][place]) for place in places)
        return result, chosen, dict(told)

    async def _judgements(self, pictures: Sequence[StagePicture], job: Job, context: JobContext) -> dict[str, Any]:
        """Return what the judges say about each picture, as JSON."""
        if self._looks:
            _, late = await asyncio.wait(self._looks, timeout=max(0.0, context.deadline - running()))
            if late:
                self.give_up()
                raise DeadlineExceeded("the job's time was over while its pictures were judged")
        found: dict[str, Any] = {"judged": [], "checks": [], "warnings": []}
        first = len(self._judged.judgements)
        for number, (look, each) in enumerate(zip(self._looks, pictures, strict=True)):
            (looked,) = look.result()
            judgement = self._judged.add(looked)
            entry = {"seed": each.seed, **judgement.to_json()}
            found["checks"] += checks_of(each.seed, judgement)
            if not judgement.accepted and job.output.rejected == "store":
                try:
                    entry["key"] = await self._services.delivery.store_rejected(
                        each.picture, first + number, each.seed, job, context
                    )
                except DeliveryFailed as error:
                    found["warnings"].append(
                        f"output.rejected: the picture of seed {each.seed} was not stored: {error.message}"
                    )
            found["judged"].append(entry)
        return {**found, "average": self._judged.average()}


def _given(pictures: Sequence[StagePicture]) -> Generated:
    """Return pictures that were there before the job as a result."""
    return replace(
        NO_PICTURES, pictures=tuple(each.picture for each in pictures), seeds=tuple(each.seed for each in pictures)
    )
