"""The wish of a client that its pictures end early, with what has been made; a cancel asks for nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from worker.common.cancellation import cancel_and_wait
from worker.errors import Cancelled

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

T = TypeVar("T")
Wish = Literal["interrupt", "skip"]
"""To end the job now, or the batch that is being made."""


class Interruption:
    """Wishes about one job; lives in its event loop.

    Attributes:
        is_ended: Whether the client has ended the job.
        has_pictures: Whether some are made: such a job ends with those at any time, not just while it generates.
    """

    def __init__(self) -> None:
        self.is_ended = False
        self.has_pictures = False
        self._wishes: asyncio.Queue[Wish] | None = None
        self._work: asyncio.Future[Any] | None = None

    def ask(self, wish: Wish) -> bool:
        """Pass a wish on; return False where nothing is being made that could end early, and nothing is there yet."""
        if self._wishes is not None:
            self.is_ended = self.is_ended or wish == "interrupt"
            self._wishes.put_nowait(wish)
            return True
        if wish == "skip" or not self.has_pictures:
            return False
        self.is_ended = True
        if self._work is not None:
            self._work.cancel()
        return True

    @contextlib.contextmanager
    def heard(self) -> Iterator[asyncio.Queue[Wish]]:
        """Take wishes while the context lasts: something is being made."""
        self._wishes = asyncio.Queue()
        try:
            yield self._wishes
        finally:
            self._wishes = None

    def note_pictures(self) -> None:
        """Note that what was being made is there, if unchecked: from now on the job ends with it."""
        self.has_pictures, self._work = True, None

    async def unless_ended(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T | None:
        """Return what `make` makes next; None where the client ends the job with the pictures that it has.

        Raises:
            WorkerError: as `make` does.
        """
        if self.is_ended:
            return None
        work: asyncio.Future[T] = asyncio.ensure_future(make())
        self._work = work
        try:
            await cancel_and_wait(asyncio.gather(work, return_exceptions=True))
        finally:
            self._work = None
        if self.is_ended and (work.cancelled() or (self.has_pictures and isinstance(work.exception(), Cancelled))):
            return None
        return work.result()


class Interruptions:
    """The jobs of one worker that can end early, by their ids."""

    def __init__(self) -> None:
        self._jobs: dict[str, Interruption] = {}

    @contextlib.contextmanager
    def of(self, job_id: str, interruption: Interruption) -> Iterator[None]:
        """Take wishes about a job while the context lasts."""
        self._jobs[job_id] = interruption
        try:
            yield
        finally:
            self._jobs.pop(job_id, None)

    def ask(self, job_id: str, wish: Wish) -> bool:
        """Pass a wish on, as `Interruption.ask` does."""
        job = self._jobs.get(job_id)
        return job is not None and job.ask(wish)
