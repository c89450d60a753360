"""The wish of a client that its pictures end early, with what has been made; a cancel asks for nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Wish = Literal["interrupt", "skip"]
"""To end the job now, or the batch that is being made."""


class Interruption:
    """Wishes about one job; lives in its event loop.

    Attributes:
        is_ended: Whether the client has ended the job.
    """

    def __init__(self) -> None:
        self.is_ended = False
        self._wishes: asyncio.Queue[Wish] | None = None

    def ask(self, wish: Wish) -> bool:
        """Pass a wish on; return False where nothing is being made that could end early."""
        if self._wishes is None:
            return False
        self.is_ended = self.is_ended or wish == "interrupt"
        self._wishes.put_nowait(wish)
        return True

    @contextlib.contextmanager
    def heard(self) -> Iterator[asyncio.Queue[Wish]]:
        """Take wishes while the context lasts: something is being made."""
        self._wishes = asyncio.Queue()
        try:
            yield self._wishes
        finally:
            self._wishes = None


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
