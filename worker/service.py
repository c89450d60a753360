"""One job from input to answer: accept → prepare models → generate → check → deliver.

This is the whole system on one page. `Service.run` is also the boundary at which errors become answers: inside, a typed
error is raised where the fact is known; outside, there are only answers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from worker import __version__
from worker.clock import running
from worker.contract.accept import Cache, accept, inside
from worker.contract.expand import expand
from worker.contract.job import Generation
from worker.contract.kinds import Upscale, Validate
from worker.contract.limits import Limits
from worker.delivery.target import from_job
from worker.errors import ClientError, InternalError, InvalidInput, WorkerError, WorkerFault
from worker.recovery.making import Maker
from worker.serving.answer import encoded_size, size_bound
from worker.serving.deadline import seconds_for
from worker.stages import generate
from worker.stages.dry_run import dry_run
from worker.stages.errands import Errands
from worker.stages.handover import Handover
from worker.stages.hands import Hands
from worker.stages.joined import Part, join
from worker.stages.judged import judged, refuse_nothing
from worker.stages.run import Run
from worker.stages.studio import Studio
from worker.telemetry.logs import bound, get_logger
from worker.telemetry.phases import Phases, in_ms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from worker.contract.expand import Piece as Plain
    from worker.contract.job import Job
    from worker.delivery.deliver import Delivery
    from worker.delivery.target import S3Target
    from worker.models.staging import Staging
    from worker.models.store import ModelStore
    from worker.queue import GpuQueue
    from worker.recovery.keeper import Keeper
    from worker.recovery.results import Results
    from worker.settings import Settings
    from worker.stages.generate import Generated
    from worker.stages.house import House
    from worker.stages.source import PictureSource
    from worker.stages.streaming import PieceSink, Stream
    from worker.telemetry.observer import JobObserver
    from worker.telemetry.progress import ProgressSink
    from worker.webui.backend import Backend


class Service:
    """Answers jobs.

    Args:
        settings: The worker's settings.
        backend: The WebUI, ready.
        keeper: The owner of its life.
        store: The model files.
        delivery: Where pictures go.
        source: Where pictures that jobs point at are read from.
        results: Keeps pictures that could not be delivered.
        random: For seeds that the client leaves open.
        house: The operator's presets, wildcards and rules.
        watch: Is told of every job that ended.
        staging: Copies of checkpoints on a local disk.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        backend: Backend,
        keeper: Keeper,
        store: ModelStore,
        delivery: Delivery,
        source: PictureSource,
        results: Results,
        random: Random,
        house: House,
        watch: JobObserver,
        staging: Staging | None = None,
    ) -> None:
        self._settings = settings
        self._backend = backend
        self._store = store
        self._delivery = delivery
        self._source = source
        self._maker = Maker(backend, keeper, settings)
        self._hands = Hands(self._maker, keeper)
        self._handover = Handover(delivery, results, self._hands, encoded_size, size_bound)
        self.results = results
        self._random = random
        self._house = house
        self._watch = watch
        self._limits = Limits(max_pixels=settings.max_pixels, max_images=settings.max_images)
        self._errands = Errands(
            backend=backend, store=store, source=source, hands=self._hands, max_pixels=settings.max_input_pixels
        )
        self._studio = Studio(
            settings,
            backend=backend,
            maker=self._maker,
            store=store,
            house=house,
            errands=self._errands,
            hands=self._hands,
            staging=staging,
        )
        self._log = get_logger("service")

    async def run(self, job: Mapping[str, Any], *, on_progress: ProgressSink, on_piece: PieceSink | None = None) -> Any:
        """Return the answer to one job as the platform hands it over: ``{id, input, s3Config?, policy?}``.

        `on_piece` gets the pictures of a job that streams, one by one, and nothing after this has returned.

        An object, but for the WebUI's own listings asked for raw, which are what the WebUI says.

        Raises:
            asyncio.CancelledError: the job was cancelled; the WebUI is idle again.
        """
        phases, result, images = Phases(), "cancelled", 0
        try:
            with bound(job_id=str(job.get("id", ""))):
                answer = await self._told(job, phases, on_progress, on_piece)
            result = str(answer.get("error_code", "ok")) if isinstance(answer, dict) else "ok"
            images = _count(answer)
        finally:
            self._watch.job(phases.kind, result, phases.seconds(), images)
        return answer

    async def _told(
        self, job: Mapping[str, Any], phases: Phases, on_progress: ProgressSink, on_piece: PieceSink | None
    ) -> Any:
        try:
            answer = await self._work(job, phases, on_progress, on_piece)
        except WorkerError as error:
            self._log.warning("job failed", code=error.code, fault=error.fault, error=self._loggable(error))
            return error.to_answer()
        except Exception as defect:  # noqa: BLE001 - the boundary: a client never sees a traceback
            self._log.exception("job failed by a defect")
            return InternalError(f"a defect in the worker ({type(defect).__name__})").to_answer()
        # The answer need not wait for its line.
        asyncio.get_running_loop().call_soon(self._log_done, phases, phases.seconds(), answer)
        return answer

    def _log_done(self, phases: Phases, seconds: Mapping[str, float], answer: Any) -> None:
        carried = {"kind": phases.kind, "images": _count(answer), "bytes": phases.bytes}
        durations = {f"{phase}_ms": spent for phase, spent in in_ms(seconds).items()}
        self._log.info("job done", **carried, **self._maker.memory, **durations)

    @property
    def gpu(self) -> GpuQueue:
        """The queue for the GPU."""
        return self._maker.gpu

    @property
    def memory(self) -> dict[str, int]:
        """What the WebUI holds, as measured after the last job."""
        return self._maker.memory

    async def _work(
        self, job: Mapping[str, Any], phases: Phases, on_progress: ProgressSink, on_piece: PieceSink | None
    ) -> Any:
        with phases.phase("accept"):
            accepted = accept(
                job.get("input"),
                limits=self._limits,
                presets=self._house.presets,
                bare_form=self._settings.answer_form,
            )
            request = accepted.job
            phases.kind = request.kind
            target = self._target(job)
            self._delivery.admit(request.output, target)
            deadline = running() + seconds_for(job, request.timeout_s, self._settings.job_timeout_s)
        run = Run(str(job.get("id", "local")), target, deadline, phases, on_progress, on_piece)
        try:
            with run.holds:
                answer = await self._answered(request, run)
        except InvalidInput as error:
            raise accepted.placed(error) from None
        answer["phase_ms"] = phases.to_json()
        if accepted.preset and "applied" in answer:
            answer["applied"] = {**answer["applied"], "preset": dict(accepted.preset)}
        held = await self._hands.thread(self._held) if accepted.form == "cached" else None
        return accepted.answer(answer, cache=held)

    async def _answered(self, request: Job, run: Run) -> dict[str, Any]:
        if isinstance(request, Generation):
            return await self._pictures(request, run)
        if isinstance(request, Upscale):
            result = await self._errands.upscale(request, run)
            if self._house.gate is not None:
                result = await self._hands.thread(judged, self._house.gate, result)
                refuse_nothing(result)
            return await self._handover.deliver({**self._answer(request, result), "seeds": []}, result, request, run)
        special = await (
            self._validated(request, run) if isinstance(request, Validate) else self._errands.answer(request, run)
        )
        return {"warnings": list(request.warnings), "worker": self._worker({}), **special}

    async def _validated(self, request: Validate, run: Run) -> dict[str, Any]:
        accepted = accept(request.job, limits=self._limits, presets=self._house.presets)
        inner = accepted.job
        try:
            self._delivery.admit(inner.output, run.target)
            dry = await dry_run(
                inner,
                self._pieces(inner) if isinstance(inner, Generation) else [],
                self._backend,
                self._store,
                settle=self._studio.settled,
                read=lambda job: self._errands.incoming(job, run),
                max_pixels=self._settings.max_pixels,
                on_progress=run.on_progress,
            )
        except InvalidInput as error:
            raise inside(accepted.placed(error)) from None
        except ClientError as error:
            raise inside(error) from None
        return dry.to_json(inner.kind)

    def _pieces(self, request: Generation) -> list[Plain]:
        return expand(
            request,
            draw=lambda: self._random.randint(0, generate.LARGEST_SEED),
            lists=self._house.wildcards,
            max_pixels=self._settings.max_pixels,
        )

    async def _pictures(self, request: Generation, run: Run) -> dict[str, Any]:
        """Return the answer to a job that diffuses pictures; of several prompts, those that worked count."""
        stream = self._handover.stream(request, run)
        try:
            async with stream:
                result = join(await self._parts(request, run, stream))
                refuse_nothing(result)
        except WorkerError as error:
            if stream.told:
                error.details["streamed"] = stream.told
            raise
        answer = self._answer(request, result)
        if request.stream:
            answer["streamed"] = stream.told
            if stream.lost:
                answer["warnings"].append(f"{stream.lost} pieces could not be streamed")
        return await self._handover.deliver(answer, result, request, run, stream.early)

    async def _parts(self, request: Generation, run: Run, stream: Stream) -> list[Part]:
        """Return what became of each prompt or seed of a job, streamed as it was made."""
        parts: list[Part] = []
        pieces = self._pieces(request)
        counts = [(piece.job.batch_size or 1) * (piece.job.n_iter or 1) for piece in pieces]
        for number, piece in enumerate(pieces):
            if piece.continues and parts[-1].error is not None:
                continue
            try:
                part = Part(piece.path, await self._studio.generated(piece.job, run.piece(number, counts)))
            except WorkerError as error:
                if not request.prompts:
                    raise
                part = Part(piece.path, error=error)
            stream.add(part)
            parts = [*parts[:-1], parts[-1].followed(part)] if piece.continues else [*parts, part]
            if isinstance(part.error, WorkerFault):
                break
        return parts

    def _held(self) -> Cache:
        """Return what the model folders hold."""
        volume = self._store.volume
        files = {kind: list(volume.files(kind)) for kind in volume.folders}
        size = sum(file.size for found in files.values() for file in found)
        return Cache(len(files["checkpoint"]), len(files["lora"]), size)

    def _target(self, job: Mapping[str, Any]) -> S3Target | None:
        """Return the store that the job brings along, None for the operator's."""
        config = job.get("s3Config")
        if config is None:
            return None
        own, look = self._settings, self._settings.bucket_link_check
        return from_job(config, prefix=own.bucket_prefix, expiry_s=own.bucket_url_expiry_s, link_check=look)

    def _answer(self, request: Job, result: Generated) -> dict[str, Any]:
        return {
            "images": [],
            "seeds": list(result.seeds),
            "applied": result.applied,
            "info": dict(result.info),
            "parameters": dict(result.parameters),
            "phase_ms": {},
            "warnings": [*request.warnings, *result.warnings],
            "worker": self._worker(result.info),
            **({"parts": list(result.parts)} if result.parts else {}),
            **({"checks": list(result.checks)} if result.checks is not None else {}),
        }

    def _worker(self, info: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "version": __version__,
            "backend": self._backend.plan.name,
            "webui_version": info.get("version"),
            "id": self._settings.runpod_pod_id,
        }

    def _loggable(self, error: WorkerError) -> str:
        if self._settings.log_prompts:
            return error.message
        # An error's words may quote the prompt, the WebUI's own words too.
        return ", ".join(problem.path for problem in error.problems) if isinstance(error, InvalidInput) else error.code


def _count(answer: Any) -> int:
    """Return how many pictures were made; the answer need not carry them."""
    return len(answer.get("images") or answer.get("seeds") or ()) if isinstance(answer, dict) else 0
