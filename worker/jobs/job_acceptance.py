"""Acceptance of a job: from what the platform hands over to the typed job and its context."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker import __version__
from worker.common.clock import running
from worker.contract.accept import Accepted, accept
from worker.contract.rules.field_rules import picture_count
from worker.contract.types.job import Generation
from worker.contract.types.kinds import Upscale
from worker.errors import InvalidInput
from worker.jobs.job_context import JobContext, cache_use
from worker.jobs.kinds.upscaling import upscaler_mistakes
from worker.storage.target import from_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.types.job import Job
    from worker.errors import Problem
    from worker.jobs.job_services import JobServices
    from worker.settings import Settings
    from worker.storage.object_store import StoreTarget
    from worker.telemetry.phases import Phases
    from worker.telemetry.progress import PieceSink, ProgressSink

_ENDLESS_MS = 1e15


class JobAcceptance:
    """Accepts jobs; one for the worker's life.

    Args:
        settings: The worker's.
        services: The parts of the worker that jobs use.
    """

    def __init__(self, settings: Settings, services: JobServices) -> None:
        self._settings = settings
        self._services = services

    async def accept(
        self, job: Mapping[str, Any], phases: Phases, on_progress: ProgressSink, on_piece: PieceSink | None
    ) -> tuple[Accepted, JobContext]:
        """Return the typed job and its context.

        Args:
            job: As the platform hands it over: ``{id, input, s3Config?, policy?}``.
            phases: Gets the job's kind.
            on_progress: Gets its progress.
            on_piece: Gets its pictures one by one; None: nobody listens.

        Raises:
            InvalidInput: lists every mistake that the input alone shows.
        """
        services, settings = self._services, self._settings
        target = self._target(job)
        has_store = (target or services.delivery.operators_store) is not None
        most = max(settings.max_images, settings.max_stored_images if has_store else 0)
        try:
            accepted = accept(
                job.get("input"),
                limits=replace(services.limits, max_images=most),
                presets=services.operator.presets,
                workflows=services.operator.workflows,
                bare_form=settings.answer_form,
                unknown_fields=settings.unknown_fields,
            )
        except InvalidInput as error:
            raise await self._with_wrong_names(error) from None
        phases.kind = accepted.job.kind
        has_many = isinstance(accepted.job, Generation) and picture_count(accepted.job) > settings.max_images
        context = JobContext(
            id=str(job.get("id", "local")),
            target=target,
            deadline=running() + seconds_for(job, accepted.job.timeout_s, settings.job_timeout_s),
            phases=phases,
            on_progress=on_progress,
            on_piece=on_piece,
            raw=job,
            cache=cache_use(accepted.job),
            max_images=most,
            has_many=has_many,
            worker=self._worker(),
        )
        if has_many and isinstance(accepted.job, Generation):
            accepted = replace(accepted, job=_stored(accepted.job, settings.max_images))
        try:
            await services.delivery.admit(accepted.job, context)
        except InvalidInput as error:
            raise accepted.placed(error) from None
        return accepted, context

    async def _with_wrong_names(self, error: InvalidInput) -> InvalidInput:
        """Return `error` with what is wrong with the names in the rest of its job."""
        rest = error.partial
        if not isinstance(rest, Accepted):
            return error
        found = await self._wrong_names(rest.job)
        told = {problem.path for problem in error.problems}
        names = [each for each in rest.placed(InvalidInput(found)).problems if each.path not in told] if found else []
        return InvalidInput([*error.problems, *names], hint=error.hint) if names else error

    async def _wrong_names(self, job: Job) -> list[Problem]:
        if isinstance(job, Generation):
            return await self._services.generation.mistakes_in_names(job)
        return upscaler_mistakes(job, self._services.backend) if isinstance(job, Upscale) else []

    def _target(self, job: Mapping[str, Any]) -> StoreTarget | None:
        """Return the store that the job brings along, None for the operator's."""
        config = job.get("s3Config")
        if config is None:
            return None
        own, look = self._settings, self._settings.bucket_link_check
        return from_job(config, prefix=own.bucket_prefix, expiry_s=own.bucket_url_expiry_s, link_check=look)

    def _worker(self) -> dict[str, Any]:
        """Return what answers tell about this worker."""
        backend = self._services.backend
        device = backend.plan.device
        return {
            "version": __version__,
            "backend": backend.plan.name,
            "webui_version": backend.version,
            "device": device.told(self._services.limits.max_pixels) if device is not None else None,
            "id": self._settings.runpod_pod_id,
        }


def _stored(job: Generation, most: int) -> Generation:
    """Return a job of more than `most` pictures with them delivered to a store.

    Raises:
        InvalidInput: it wants them inline.
    """
    if job.output.delivery == "base64":
        raise InvalidInput.at(job.path("output.delivery"), f"more than {most} pictures go into a store only; send s3")
    if job.output.delivery == "none":
        return job
    return job.changed({"output": job.output.model_copy(update={"delivery": "s3"})})


def seconds_for(job: Mapping[str, Any], wish: float | None, limit: float) -> float:
    """Return the seconds that a job gets.

    Args:
        job: As the platform hands it over; ``policy.executionTimeout`` is in milliseconds.
        wish: The client's own.
        limit: The operator's.
    """
    seconds = [limit] if wish is None else [limit, wish]
    policy = job.get("policy")
    platform = policy.get("executionTimeout") if isinstance(policy, dict) else None
    if isinstance(platform, (int, float)) and not isinstance(platform, bool) and 0 < platform < _ENDLESS_MS:
        seconds.append(platform / 1000)
    return min(seconds)
