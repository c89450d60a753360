"""One job from input to answer: accept → prepare models → generate → check → deliver.

This is the whole system on one page: `JobAcceptance.accept` makes a typed job of the input, `make_pictures` prepares,
generates and checks each of its requests, `ResultDelivery.deliver` puts the pictures into the answer. `Service.run` is
also the boundary at which errors become answers: inside, a typed error is raised where the fact is known; outside,
there are only answers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.common.interruption import Interruptions
from worker.contract.compat.client_form import Cache
from worker.contract.types.composed.workflow import Workflow
from worker.contract.types.job import Generation
from worker.contract.types.kinds import Upscale
from worker.errors import InternalError, InvalidInput, WorkerError, WorkerFault
from worker.jobs.composed.plots import in_cell, plot_sheet_of
from worker.jobs.job_acceptance import JobAcceptance
from worker.jobs.judging.until_accepted import UntilAccepted
from worker.jobs.kinds import dispatch
from worker.jobs.plain_job import make_larger, make_pictures
from worker.jobs.results import PartResult, merge_results, raise_if_all_refused
from worker.telemetry.logs import bound, get_logger
from worker.telemetry.observer import FinishedJob
from worker.telemetry.phases import Phases

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.common.interruption import Wish
    from worker.contract.types.job import Job
    from worker.gpu_queue import GpuQueue
    from worker.jobs.job_context import JobContext
    from worker.jobs.job_services import JobServices
    from worker.jobs.result_delivery import ResultStream
    from worker.jobs.results import Generated
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
                self._watch.job(_finished(job, phases, result, images))
        return answer

    async def _answer(
        self, job: Mapping[str, Any], phases: Phases, on_progress: ProgressSink, on_piece: PieceSink | None
    ) -> Any:
        with phases.phase("accept"):
            accepted, context = await self._acceptance.accept(job, phases, on_progress, on_piece)
        request, services = accepted.job, self._services
        try:
            async with services.threads.closing(context.holds):
                if _can_end_early(request):
                    context.holds.enter_context(self._interruptions.of(context.id, context.interruption))
                if isinstance(request, Generation):
                    answer = await self._generated(request, context)
                elif isinstance(request, Upscale):
                    answer = await self._upscaled(request, context)
                else:
                    special = await dispatch.answer(request, context, services)
                    answer = {"warnings": list(request.warnings), "worker": context.worker, **special}
        except InvalidInput as error:
            raise accepted.placed(error) from None
        answer["phase_ms"] = phases.to_json()
        if accepted.preset and "applied" in answer:
            answer["applied"] = {**answer["applied"], "preset": dict(accepted.preset)}
        held = await services.threads.run(self._held) if accepted.form.reports_cache else None
        return accepted.answer(answer, cache=held)

    async def _generated(self, job: Generation, context: JobContext) -> dict[str, Any]:
        """Return the answer to a job that diffuses pictures; of several prompts, those that worked count."""
        delivery = self._services.delivery
        stream = delivery.stream(job, context, early=context.has_many)
        try:
            async with stream:
                if job.accept is not None:
                    await delivery.admit_rejected(job, context)
                    make = partial(make_pictures, services=self._services)
                    result = await UntilAccepted(job, context, self._services, make, stream).run()
                else:
                    single = job.changed({"stream": True}) if context.has_many else job
                    parts = await self._parts(single, context, stream)
                    result = merge_results(parts)
                    raise_if_all_refused(result)
        except WorkerError as error:
            if stream.told:
                error.details["streamed"] = stream.told
            raise
        answer = _described(job, result, context)
        if job.stream:
            answer["streamed"] = stream.told
            if stream.lost:
                answer["warnings"].append(f"{stream.lost} pieces could not be streamed")
        if job.plot is not None:
            result = replace(result, sheet=await self._services.threads.run(plot_sheet_of, job, parts))
        return await delivery.deliver(answer, result, job, context, stream.streamed)

    async def _parts(self, job: Generation, context: JobContext, stream: ResultStream) -> list[PartResult]:
        """Return the outcome for each prompt or seed of a job, streamed as it was made."""
        parts: list[PartResult] = []
        plain_jobs = await self._services.plain_jobs(job)
        counts = [(plain.job.batch_size or 1) * (plain.job.n_iter or 1) for plain in plain_jobs]
        for number, plain in enumerate(plain_jobs):
            if plain.continues and parts[-1].error is not None:
                continue
            make = partial(make_pictures, plain.job, context.part(number, counts), self._services)
            try:
                made = await context.interruption.unless_ended(make)
                if made is None:
                    break
                context.interruption.has_pictures = True
                part = PartResult(
                    plain.path, made if plain.cell is None else in_cell(made, plain.cell), cell=plain.cell
                )
            except WorkerError as error:
                if not (job.prompts or job.plot):
                    raise
                part = PartResult(plain.path, error=error, cell=plain.cell)
            stream.add(part)
            parts = [*parts[:-1], parts[-1].followed(part)] if plain.continues else [*parts, part]
            if isinstance(part.error, WorkerFault) or context.interruption.is_ended:
                break
        return parts

    async def _upscaled(self, job: Upscale, context: JobContext) -> dict[str, Any]:
        """Return the answer to an upscale job."""
        result = await make_larger(job, context, self._services)
        seeds = list(result.seeds) if job.tiles is not None else []
        answer = {**_described(job, result, context), "seeds": seeds}
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

    def _held(self) -> Cache:
        """Return the size of the model folders. Blocking."""
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


def _described(job: Job, result: Generated, context: JobContext) -> dict[str, Any]:
    """Return the answer without its pictures."""
    ended = context.interruption.is_ended and result.is_whole
    early = [f"ended early by the client: {len(result.pictures)} pictures were made by then"] if ended else []
    return {
        "images": [],
        "pictures": [one.row(index) for index, one in enumerate(result.facts)],
        "seeds": list(result.seeds),
        "applied": result.applied,
        "info": dict(result.info),
        "parameters": dict(result.parameters),
        "phase_ms": {},
        "warnings": [*early, *job.warnings, *result.warnings],
        "worker": context.worker,
        **({"parts": list(result.parts)} if result.parts else {}),
        **({"checks": list(result.checks)} if result.checks is not None else {}),
        **({"cached": result.cached} if result.cached else {}),
        **result.judging,
    }


_BATCH_KEYS = ("batchId", "batch_id", "customId", "custom_id", "batchIndex", "batch_index")
_LONGEST_KEY = 100


def batch_keys(job: Mapping[str, Any]) -> dict[str, str]:
    """Return the platform's names for the batch that a job belongs to, and for the job in it, for the log."""
    found = {name: job[name] for name in _BATCH_KEYS if isinstance(job.get(name), (str, int))}
    return {
        name: "".join(sign for sign in str(value) if sign.isprintable())[:_LONGEST_KEY] for name, value in found.items()
    }


def _finished(job: Mapping[str, Any], phases: Phases, result: str, images: int) -> FinishedJob:
    """Return what observers are told of a job; `traceparent` is its caller's, beside the input."""
    caller = job.get("traceparent")
    return FinishedJob(
        id=str(job.get("id", "")),
        kind=phases.kind,
        result=result,
        seconds=phases.seconds(),
        images=images,
        stretches=phases.stretches(),
        traceparent=caller if isinstance(caller, str) else "",
    )


def _count(answer: Any) -> int:
    """Return how many pictures were made; the answer need not carry them."""
    return len(answer.get("images") or answer.get("seeds") or ()) if isinstance(answer, dict) else 0
