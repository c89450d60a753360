"""One job from input to answer: accept → prepare → generate → check → deliver.

This is the whole system on one page. `JobAcceptance.accept` makes a typed job of the input and a `JobContext` that
goes with it to the end. `make_each` takes each of its plain jobs, one prompt and one seed, through
`ImageGeneration.prepare` (models and request), `generate` (the WebUI, repeated where that helps) and `check` (the
operator's image check). `ResultDelivery.deliver` puts the pictures into the answer. Jobs that make no pictures of their
own are answered by the registry of `jobs/kinds/dispatch.py`.

`Service.run` is also the boundary at which errors become answers: inside, a typed error is raised where the fact is
known; outside, there are only answers.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from worker.common.interruption import Interruptions
from worker.contract.compat.client_form import Cache
from worker.contract.types.composed.workflow import Workflow
from worker.contract.types.job import Generation
from worker.contract.types.kinds import Upscale
from worker.errors import InternalError, InvalidInput, WorkerError
from worker.jobs.job_acceptance import JobAcceptance
from worker.jobs.judging.until_accepted import UntilAccepted
from worker.jobs.kinds import dispatch
from worker.jobs.plain_job import make_each, make_larger, make_pictures
from worker.jobs.results import answer_without_pictures
from worker.telemetry.logs import bound, get_logger
from worker.telemetry.observer import batch_keys, finished
from worker.telemetry.phases import Phases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.common.interruption import Wish
    from worker.contract.types.job import Job
    from worker.gpu_queue import GpuQueue
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.settings import Settings
    from worker.telemetry.observer import JobObserver
    from worker.telemetry.progress import PieceSink, ProgressSink


class Service:
    """Answers jobs.

    Args:
        settings: The worker's settings.
        services: The parts of the worker that jobs use.
        watch: Observer of every job that ended.
    """

    def __init__(self, settings: Settings, services: JobServices, watch: JobObserver) -> None:
        self._settings = settings
        self._services = services
        self._acceptance = JobAcceptance(settings, services)
        self._watch = watch
        self._interruptions = Interruptions()
        self._log = get_logger("service")

    async def run(self, job: Mapping[str, Any], *, on_progress: ProgressSink, on_piece: PieceSink | None = None) -> Any:
        """Return the answer to one job as the platform hands it over: ``{id, input, s3Config?, policy?}``.

        An object, but for the WebUI's own listings asked for raw, which are what the WebUI says. `on_piece` gets the
        pictures of a job that streams, one by one, and nothing after this has returned.

        Raises:
            asyncio.CancelledError: the job was cancelled; the WebUI is idle again.
        """
        phases, result, images = Phases(), "cancelled", 0
        with bound(job_id=str(job.get("id", "")), **batch_keys(job)):
            try:
                answer = await self._answer(job, phases, on_progress, on_piece)
                result, images = "ok", _count(answer)
                self._log_done(phases, answer)
            except WorkerError as error:
                self._log.warning("job failed", code=error.code, fault=error.fault, error=self._loggable(error))
                answer, result = error.to_answer(), error.code
            except Exception as defect:  # noqa: BLE001 - the boundary: a client never sees a traceback
                self._log.exception("job failed by a defect")
                answer = InternalError(f"a defect in the worker ({type(defect).__name__})").to_answer()
                result = InternalError.code
            finally:
                self._watch.job(finished(job, phases, result, images))
        return answer

    async def _answer(
        self, job: Mapping[str, Any], phases: Phases, on_progress: ProgressSink, on_piece: PieceSink | None
    ) -> Any:
        """Return the answer to a job, in the form in which its client asked."""
        with phases.phase("accept"):
            accepted, context = await self._acceptance.accept(job, phases, on_progress, on_piece)
        try:
            async with self._services.threads.closing(context.holds):
                if _can_end_early(accepted.job):
                    context.holds.enter_context(self._interruptions.of(context.id, context.interruption))
                answer = await self._answer_by_kind(accepted.job, context)
        except InvalidInput as error:
            raise accepted.placed(error) from None
        answer["phase_ms"] = phases.to_json()
        if accepted.preset and "applied" in answer:
            answer["applied"] = {**answer["applied"], "preset": dict(accepted.preset)}
        cache = await self._services.threads.run(self._model_folder_sizes) if accepted.form.reports_cache else None
        return accepted.answer(answer, cache=cache)

    async def _answer_by_kind(self, job: Job, context: JobContext) -> dict[str, Any]:
        if isinstance(job, Generation):
            return await self._answer_generation(job, context)
        if isinstance(job, Upscale):
            return await self._answer_upscale(job, context)
        fields = await dispatch.answer(job, context, self._services)
        return {"warnings": list(job.warnings), "worker": context.worker, **fields}

    async def _answer_generation(self, job: Generation, context: JobContext) -> dict[str, Any]:
        """Return the answer to a job that diffuses pictures; a job that streams has each posted as it is made."""
        services, delivery = self._services, self._services.delivery
        async with delivery.stream(job, context, early=context.has_many) as stream:
            if job.accept is None:
                result = await make_each(job, context, services, stream)
            else:
                await delivery.admit_rejected(job, context)
                make = partial(make_pictures, services=services)
                result = await UntilAccepted(job, context, services, make, stream).run()
        answer = answer_without_pictures(job, result, context)
        if job.stream:
            answer["streamed"] = stream.told
            answer["warnings"] += stream.losses()
        return await delivery.deliver(answer, result, job, context, stream.streamed)

    async def _answer_upscale(self, job: Upscale, context: JobContext) -> dict[str, Any]:
        """Return the answer to an upscale job, which has seeds where it redraws its picture by tiles."""
        result = await make_larger(job, context, self._services)
        seeds = list(result.seeds) if job.tiles is not None else []
        answer = {**answer_without_pictures(job, result, context), "seeds": seeds}
        return await self._services.delivery.deliver(answer, result, job, context)

    def interrupt(self, job_id: str, wish: Wish) -> bool:
        """Have a job's pictures end early, with what has been made; return False where none are being made."""
        return self._interruptions.ask(job_id, wish)

    @property
    def gpu(self) -> GpuQueue:
        """The queue for the GPU."""
        return self._services.executor.gpu

    @property
    def memory(self) -> dict[str, int]:
        """The WebUI's memory as measured after the last job; see `Executor.memory`."""
        return self._services.executor.memory

    def _model_folder_sizes(self) -> Cache:
        """Return how many models the folders hold, and their size. Blocking."""
        volume = self._services.store.volume
        files = {kind: list(volume.files(kind)) for kind in volume.folders}
        size = sum(file.size for found in files.values() for file in found)
        return Cache(len(files["checkpoint"]), len(files["lora"]), size)

    def _log_done(self, phases: Phases, answer: Any) -> None:
        carried = {"kind": phases.kind, "images": _count(answer), "bytes": phases.bytes}
        durations = {f"{phase}_ms": spent for phase, spent in phases.to_json().items()}
        self._log.info("job done", **carried, **self.memory, **durations)

    def _loggable(self, error: WorkerError) -> str:
        if self._settings.log_prompts:
            return error.message
        # An error's words may quote the prompt, the WebUI's own words too.
        return ", ".join(problem.path for problem in error.problems) if isinstance(error, InvalidInput) else error.code


def _can_end_early(job: Job) -> bool:
    """Return whether a job's pictures are its answer, so that it may end with fewer of them."""
    return isinstance(job, Workflow) or (isinstance(job, Generation) and job.accept is None)


def _count(answer: Any) -> int:
    """Return how many pictures were made; the answer need not carry them."""
    return len(answer.get("images") or answer.get("seeds") or ()) if isinstance(answer, dict) else 0
