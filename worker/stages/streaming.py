"""A job's pictures told as they are made, in order, beside the making of the next ones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.delivery.streamed import Streamed
from worker.errors import WorkerError
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from typing_extensions import Self

    from worker.delivery.streamed import StreamedPicture
    from worker.images.picture import Picture
    from worker.stages.joined import Part

PieceSink = Callable[[dict[str, Any]], Awaitable[None]]
"""Posts one piece; raises whatever kept it from being posted."""
LAST_POSTS_S = 60.0
"""How long the answer waits for pieces that are on their way."""


class Stream:
    """Tells the pictures of one job; use as ``async with Stream(...) as stream``, left when the last piece is posted.

    A piece that can't be told says why; one that can't be posted is counted as lost. The job goes on either way.

    Args:
        sink: Posts a piece; None: nobody listens, and nothing is done.
        deliver: Returns a picture as it is told, given its number, itself and its seed; blocking.
        thread: Runs what blocks.
    """

    def __init__(
        self,
        sink: PieceSink | None,
        deliver: Callable[[Streamed, int, Picture, int], StreamedPicture],
        thread: Callable[..., Awaitable[Any]],
    ) -> None:
        self._sink = sink
        self._deliver = deliver
        self._thread = thread
        self._queue: asyncio.Queue[Callable[[], Awaitable[dict[str, Any]]]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._number = 0
        self.streamed = Streamed(keeps=sink is not None)
        """What the job's delivery need not do again."""
        self.told = 0
        """Pictures that were posted."""
        self.lost = 0
        """Pieces that could not be."""

    async def __aenter__(self) -> Self:
        if self._sink is not None:
            self._queue = asyncio.Queue()
            self._task = asyncio.ensure_future(self._tell(self._sink, self._queue))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
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

    def add(self, part: Part) -> None:
        """Tell the pictures of one piece of the job, or what kept them from being made."""
        if self._queue is None:
            return
        if part.result is not None:
            for picture, seed in zip(part.result.pictures, part.result.seeds, strict=False):
                self._queue.put_nowait(partial(self._picture, self._number, picture, seed, part.path))
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

    async def _picture(self, number: int, picture: Picture, seed: int, path: str) -> dict[str, Any]:
        place = {"index": number, "seed": seed, **({"path": path} if path else {})}
        try:
            piece: StreamedPicture = await self._thread(self._deliver, self.streamed, number, picture, seed)
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
        return {"path": path, "error": error.to_answer()}
