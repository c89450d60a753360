"""Delivery of a job's results: all pictures into the answer at its end, or one by one before it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.common.strict_json import encoded_size
from worker.delivery.result_files import PictureMetadata
from worker.delivery.streamed import Streamed
from worker.errors import DeliveryFailed, InvalidInput, WorkerError
from worker.telemetry.logs import get_logger
from worker.telemetry.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from typing_extensions import Self

    from worker.contract.types.composed.workflow import Continue, Workflow
    from worker.contract.types.job import Generation, Job
    from worker.delivery.deliver import Delivery
    from worker.delivery.result_files import Delivered
    from worker.delivery.streamed import StreamedPicture
    from worker.images.formats.picture import Picture
    from worker.jobs.job_context import JobContext, JobThreads
    from worker.jobs.picture_facts import ImageFacts
    from worker.jobs.results import Generated, PartResult
    from worker.recovery.kept_results import KeptResults
    from worker.storage.keys import KeyTemplate
    from worker.storage.object_store import Store
    from worker.telemetry.progress import PieceSink

ENVELOPE_BYTES = 2048
"""The platform's envelope around an answer, and the warnings and phases that delivery itself adds."""
LAST_POSTS_S = 60.0
"""Time that the answer waits for pieces that are on their way."""


class ResultDelivery:
    """Delivers results; one for the worker's life.

    Args:
        delivery: To base64 or a store.
        kept: Keeps pictures that could not be delivered.
        threads: For everything that blocks.
    """

    def __init__(self, delivery: Delivery, kept: KeptResults, threads: JobThreads) -> None:
        self._delivery = delivery
        self._kept = kept
        self._threads = threads
        self.operators_store = delivery.operators_store
        """The store of jobs that bring none along; None: there is none."""

    async def admit(self, job: Job, context: JobContext) -> None:
        """Check before any picture is made that it can be delivered as the job wants it.

        Raises:
            InvalidInput: it can't.
        """
        await self._delivery.admit(job.output, context.target)

    async def admit_rejected(self, job: Job, context: JobContext) -> None:
        """Check before any picture is made that rejected ones can be stored, where the job wants it.

        Raises:
            InvalidInput: there is no store.
        """
        if job.output.rejected != "store":
            return
        try:
            await self._delivery.admit(job.output.model_copy(update={"delivery": "s3"}), context.target)
        except InvalidInput as error:
            moved = [replace(problem, path="output.rejected") for problem in error.problems]
            raise InvalidInput(moved) from None

    async def store_rejected(self, picture: Picture, number: int, seed: int, job: Job, context: JobContext) -> str:
        """Store a picture that was rejected and return its key.

        Raises:
            DeliveryFailed: the store did not take it.
        """
        stored = await self._threads.run(
            self._delivery.piece,
            f"{context.id}-rejected",
            number,
            picture,
            seed,
            options=job.output.model_copy(update={"delivery": "none"}),
            store=context.target,
            deadline=context.deadline,
            streamed=Streamed(),
        )
        if stored.key is None:
            raise AssertionError("admitted with a store")
        return stored.key

    async def keep(self, result: Generated, context: JobContext) -> list[str]:
        """Keep pictures that the answer does not carry, and return where."""
        return await self._threads.run(self._kept.keep_pictures, context.id, result.pictures, result.seeds)

    @property
    def template(self) -> KeyTemplate:
        """Names of pictures in a store."""
        return self._delivery.template

    def stored(self, context: JobContext) -> Store | None:
        """Return the client of the job's store. Blocking: the first imports the client's library."""
        target = context.target or self.operators_store
        return None if target is None else self._delivery.clients.of(target)

    def stream(
        self,
        job: Generation | Workflow | Continue,
        context: JobContext,
        *,
        stage: str | None = None,
        early: bool = False,
    ) -> ResultStream:
        """Return the stream on which the job's pictures are posted one by one, where wanted and listened to.

        Args:
            job: As accepted.
            context: Its context.
            stage: Of a workflow, whose pictures they are.
            early: Where nobody listens the pictures go into the store one by one all the same.
        """

        def piece(
            streamed: Streamed, number: int, picture: Picture, seed: int, facts: ImageFacts | None
        ) -> StreamedPicture:
            return self._delivery.piece(
                context.id,
                number,
                picture,
                seed,
                options=job.output,
                store=context.target,
                deadline=context.deadline,
                streamed=streamed,
                name=None if facts is None else facts.name(context.id, number, context.started),
            )

        sink = context.on_piece if job.stream else None
        return ResultStream(sink or (_to_nobody if early else None), piece, self._threads, stage=stage)

    async def deliver(
        self, answer: dict[str, Any], result: Generated, job: Job, context: JobContext, streamed: Streamed | None = None
    ) -> dict[str, Any]:
        """Return `answer` with the pictures of `result` in it, as base64 or URLs.

        Args:
            answer: Without them.
            result: The pictures.
            job: As accepted.
            context: Its context.
            streamed: The part of the delivery that has been done already.

        Raises:
            OutputTooLarge, DeliveryFailed, WrongResult: it can't be delivered; pictures a store did not take are kept.
        """
        context.on_progress(Progress(stage="deliver", percent=92, images=len(result.pictures)))
        with context.phases.phase("deliver"):
            delivered = await self._threads.run(self._delivered, answer, result, job, context, streamed)
        context.phases.bytes += delivered.bytes
        rows = _with_places(answer.get("pictures") or (), delivered)
        told = {**delivered.told(), **({"pictures": rows} if rows else {})}
        return {**answer, **told, "warnings": [*answer["warnings"], *delivered.warnings]}

    def _delivered(
        self, answer: dict[str, Any], result: Generated, job: Job, context: JobContext, streamed: Streamed | None
    ) -> Delivered:
        try:
            return self._delivery.deliver(
                context.id,
                result.pictures,
                result.seeds,
                options=job.output,
                store=context.target,
                overhead_bytes=encoded_size(answer) + ENVELOPE_BYTES,
                answer=answer,
                deadline=context.deadline,
                streamed=streamed,
                sheet=result.sheet,
                names=[one.name(context.id, number, context.started) for number, one in enumerate(result.facts)],
                metadata=_metadata(context.id, answer, result) if job.output.metadata else (),
            )
        except DeliveryFailed as error:
            error.details["kept"] = self._kept.keep_pictures(context.id, result.pictures, result.seeds)
            raise


def _metadata(job_id: str, answer: Mapping[str, Any], result: Generated) -> list[PictureMetadata]:
    """Return the facts about each picture for the answer and for the store."""
    worker = answer["worker"]
    versions = {"worker": worker["version"], "backend": worker["backend"], "webui": worker["webui_version"]}
    return [
        PictureMetadata(
            inline=one.document(job_id, index, versions, whole=False),
            stored=one.document(job_id, index, versions, whole=True),
        )
        for index, one in enumerate(result.facts)
    ]


def _with_places(rows: Sequence[Mapping[str, Any]], delivered: Delivered) -> list[dict[str, Any]]:
    """Return the answer's rows with the key of each picture in the store, and the facts about it where wanted."""
    places = [
        {name: values[index] for name, values in (("key", delivered.keys), ("metadata", delivered.metadata)) if values}
        for index in range(len(rows))
    ]
    return [{**row, **place} for row, place in zip(rows, places, strict=True)]


class ResultStream:
    """Posts the pictures of one job as they are made, in order, beside the making of the next ones.

    Use as ``async with ResultStream(...) as stream``, which is left when the last piece is posted.

    A piece that can't be told says why; one that can't be posted is counted as lost. The job goes on either way.

    Args:
        sink: Posts a piece; None: nobody listens, and nothing is done.
        deliver: Returns a picture as it is told, given its number, itself, its seed and the facts about it; blocking.
        threads: For `deliver`.
        stage: Of a workflow, told with each piece.
    """

    def __init__(
        self,
        sink: PieceSink | None,
        deliver: Callable[[Streamed, int, Picture, int, ImageFacts | None], StreamedPicture],
        threads: JobThreads,
        *,
        stage: str | None = None,
    ) -> None:
        self._stage = {"stage": stage} if stage is not None else {}
        self._sink = sink
        self._deliver = deliver
        self._threads = threads
        self._queue: asyncio.Queue[Callable[[], Awaitable[dict[str, Any]]]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._number = 0
        self.streamed = Streamed(keeps=sink is not None)
        """The part of the delivery that is done already."""
        self.told = 0
        """Pictures that were posted."""
        self.lost = 0
        """Pieces that could not be."""

    async def __aenter__(self) -> Self:
        if self._sink is not None:
            self._queue = asyncio.Queue()
            self._task = asyncio.ensure_future(self._tell(self._sink, self._queue))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if self._task is None or self._queue is None:
            return
        told = asyncio.ensure_future(self._queue.join())
        try:
            if kind is None or issubclass(kind, Exception):  # not for a cancel
                await asyncio.wait({told}, timeout=LAST_POSTS_S)
        finally:
            told.cancel()
            self._task.cancel()
        await asyncio.wait({self._task})
        self.lost += self._queue.qsize()
        if isinstance(error, WorkerError) and self.told:
            error.details["streamed"] = self.told

    def losses(self) -> list[str]:
        """Return the warning about pieces that could not be posted."""
        return [f"{self.lost} pieces could not be streamed"] if self.lost else []

    def add(self, part: PartResult) -> None:
        """Tell the pictures of one piece of the job, or what kept them from being made."""
        if self._queue is None:
            return
        if part.result is not None:
            facts = [*part.result.facts, *[None] * len(part.result.pictures)]
            for picture, seed, fact in zip(part.result.pictures, part.result.seeds, facts, strict=False):
                self._queue.put_nowait(partial(self._picture, self._number, picture, seed, fact, part.path))
                self._number += 1
        if part.error is not None:
            self._queue.put_nowait(partial(self._failure, part.path, part.error))

    async def _tell(self, sink: PieceSink, queue: asyncio.Queue[Callable[[], Awaitable[dict[str, Any]]]]) -> None:
        while True:
            make = await queue.get()
            try:
                piece = await make()
                await sink(piece)
                self.told += "error" not in piece
            except Exception as error:  # noqa: BLE001 - the pictures are in the answer too; the job must not fail over it
                self.lost += 1
                get_logger("stream").warning("a piece could not be posted", why=type(error).__name__)
            finally:
                queue.task_done()

    async def _picture(
        self, number: int, picture: Picture, seed: int, facts: ImageFacts | None, path: str
    ) -> dict[str, Any]:
        place = {"index": number, "seed": seed, **({"path": path} if path else {}), **self._stage}
        try:
            piece: StreamedPicture = await self._threads.run(self._deliver, self.streamed, number, picture, seed, facts)
        except WorkerError as error:
            return {**place, "error": error.to_answer()}
        told = {"image": piece.image, "key": piece.key, "warnings": list(piece.warnings)}
        return {
            **place,
            **{name: value for name, value in told.items() if value},
            "format": piece.picture.format,
            "width": piece.picture.width,
            "height": piece.picture.height,
        }

    async def _failure(self, path: str, error: WorkerError) -> dict[str, Any]:
        return {"path": path, **self._stage, "error": error.to_answer()}


async def _to_nobody(_piece: dict[str, Any]) -> None:
    """Post a piece to nobody."""
