"""A job's pictures into its answer: all at its end, or one by one before it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from worker.errors import DeliveryFailed
from worker.stages.streaming import Stream
from worker.telemetry.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.contract.types.job import Generation, Job
    from worker.delivery.deliver import Delivery
    from worker.delivery.files import Delivered
    from worker.delivery.streamed import Streamed, StreamedPicture
    from worker.images.picture import Picture
    from worker.recovery.results import Results
    from worker.stages.generate import Generated
    from worker.stages.hands import Hands
    from worker.stages.run import Run

ENVELOPE_BYTES = 2048
"""What the platform wraps around an answer, and warnings and phases that delivery itself adds."""


class Handover:
    """See the module's docstring.

    Args:
        delivery: Where pictures go.
        results: Keeps pictures that could not be delivered.
        hands: Threads.
        size_of: Returns the bytes of an answer as JSON.
        bound_of: Returns what they are at most, at less cost.
    """

    def __init__(
        self,
        delivery: Delivery,
        results: Results,
        hands: Hands,
        size_of: Callable[[dict[str, Any]], int],
        bound_of: Callable[[dict[str, Any]], int],
    ) -> None:
        self._size_of = size_of
        self._bound_of = bound_of
        self._delivery = delivery
        self._results = results
        self._hands = hands

    def stream(self, request: Generation, run: Run) -> Stream:
        """Return where the job's pictures are told one by one, if it wants that and somebody listens."""

        def piece(streamed: Streamed, number: int, picture: Picture, seed: int) -> StreamedPicture:
            return self._delivery.piece(
                run.id,
                number,
                picture,
                seed,
                options=request.output,
                store=run.target,
                deadline=run.deadline,
                streamed=streamed,
            )

        return Stream(run.on_piece if request.stream else None, piece, self._hands.thread)

    async def deliver(
        self, answer: dict[str, Any], result: Generated, request: Job, run: Run, streamed: Streamed | None = None
    ) -> dict[str, Any]:
        """Return `answer` with the pictures of `result` in it, as base64 or URLs.

        Args:
            answer: Without them.
            result: What was made.
            request: The job.
            run: Its way.
            streamed: What was delivered of it already.

        Raises:
            OutputTooLarge, DeliveryFailed, WrongResult: it can't be delivered; pictures a store did not take are kept.
        """
        run.on_progress(Progress(stage="deliver", percent=92, images=len(result.pictures)))
        with run.phases.phase("deliver"):
            delivered = await self._delivered(answer, result, request, run, streamed)
        run.phases.bytes += delivered.bytes
        return {**answer, **delivered.told(), "warnings": [*answer["warnings"], *delivered.warnings]}

    async def _delivered(
        self, answer: dict[str, Any], result: Generated, request: Job, run: Run, streamed: Streamed | None
    ) -> Delivered:
        deliver = partial(
            self._delivery.deliver,
            run.id,
            result.pictures,
            result.seeds,
            options=request.output,
            store=run.target,
            overhead_bytes=self._size_of(answer) + ENVELOPE_BYTES,
            answer=answer,
            deadline=run.deadline,
            streamed=streamed,
        )
        try:
            return await self._hands.thread(deliver)
        except DeliveryFailed as error:
            kept = await self._hands.thread(self._results.keep_pictures, run.id, result.pictures, result.seeds)
            error.details["kept"] = kept
            raise
