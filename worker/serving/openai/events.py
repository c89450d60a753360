"""Answers as a stream of server-sent events: unfinished pictures, finished pictures, or an error."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

from worker.common.cancellation import shielded
from worker.common.strict_json import encode
from worker.contract.compat.openai import NO_USAGE, format_of
from worker.serving.gateway import JobError
from worker.serving.openai.openai_errors import OpenAIError, error_body
from worker.telemetry.progress import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from starlette.types import Receive, Scope, Send

    from worker.serving.gateway import GatewayJob

KEEP_ALIVE_S = 15.0
"""Between comments that keep proxies from closing a stream without events."""
_KEEP_ALIVE = b": keep-alive\n\n"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class JobEvents:
    """The events of one job, as OpenAI's clients read them. Pure but for the clock.

    Args:
        prefix: Of the events' types: ``image_generation`` or ``image_edit``.
        most_previews: Of each picture.
    """

    def __init__(self, prefix: str, most_previews: int) -> None:
        self._prefix = prefix
        self._most_previews = most_previews
        self._previewed = 0
        self._previewed_image: int | None = None
        self._sent: set[int] = set()

    def of_progress(self, progress: Progress) -> Iterator[bytes]:
        """Yield the event of an unfinished picture, where there is one that is wanted."""
        if progress.preview is None:
            return
        if progress.image != self._previewed_image:
            self._previewed_image, self._previewed = progress.image, 0
        if self._previewed < self._most_previews:
            event = self._event("partial_image", progress.preview, "auto")
            yield _sse({**event, "partial_image_index": self._previewed})
            self._previewed += 1

    def of_picture(self, piece: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the event of a finished picture; one that could not be streamed comes with the answer."""
        index, image = piece.get("index"), piece.get("image")
        if index is not None and image is not None and index not in self._sent:
            self._sent.add(index)
            size = f"{piece['width']}x{piece['height']}" if "width" in piece else "auto"
            yield self._completed(image, size, piece.get("seed"))

    def of_answer(self, answer: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the events of pictures in the job's answer that have had none."""
        for index, entry in enumerate(answer.get("data") or ()):
            image = entry.get("b64_json") or entry.get("url")
            if index not in self._sent and image:
                yield self._completed(image, str(answer.get("size", "auto")), entry.get("seed"))

    def _completed(self, image: str, size: str, seed: int | None) -> bytes:
        seeded = {} if seed is None else {"seed": seed}
        return _sse({**self._event("completed", image, size), "usage": dict(NO_USAGE), **seeded})

    def _event(self, kind: str, image: str, size: str) -> dict[str, Any]:
        return {
            "type": f"{self._prefix}.{kind}",
            "url" if "://" in image[:16] else "b64_json": image,
            "created_at": int(time.time()),
            "size": size,
            "quality": "auto",
            "background": "opaque",
            "output_format": format_of(image),
        }


def _sse(event: Mapping[str, Any]) -> bytes:
    return b"event: " + str(event["type"]).encode() + b"\ndata: " + encode(dict(event)) + b"\n\n"


class EventResponse(StreamingResponse):
    """Streams a job's events; the job is cancelled when the client hangs up before its end.

    Args:
        job: Whose events they are.
        events: Words them.
    """

    def __init__(self, job: GatewayJob, events: JobEvents) -> None:
        super().__init__(self._body(), headers=_HEADERS, media_type="text/event-stream")
        self._job = job
        self._chunks = _chunks(job, events)
        self._next = asyncio.ensure_future(anext(self._chunks, None))

    async def first(self, seconds: float) -> None:
        """Wait up to `seconds` for the first event, while the answer's HTTP status is still open.

        Raises:
            OpenAIError: the job has failed.
        """
        await asyncio.wait({self._next}, timeout=seconds)
        if self._next.done():
            self._next.result()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await shielded(self.close())

    async def close(self) -> None:
        """Stop the job if it still runs."""
        self._next.cancel()
        await self._job.cancel()

    async def _body(self) -> AsyncIterator[bytes]:
        while True:
            done, _ = await asyncio.wait({self._next}, timeout=KEEP_ALIVE_S)
            if not done:
                yield _KEEP_ALIVE
                continue
            try:
                chunk = self._next.result()
            except OpenAIError as error:
                yield b"event: error\ndata: " + encode(error_body(error)) + b"\n\n"
                return
            if chunk is None:
                return
            yield chunk
            self._next = asyncio.ensure_future(anext(self._chunks, None))


async def _chunks(job: GatewayJob, events: JobEvents) -> AsyncIterator[bytes]:
    try:
        async for told in job.events():
            for chunk in events.of_progress(told) if isinstance(told, Progress) else events.of_picture(told):
                yield chunk
        for chunk in events.of_answer(await job.result()):
            yield chunk
    except JobError as failed:
        raise OpenAIError(failed) from None
