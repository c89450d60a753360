"""The schedule of questions about a job, and the patience with an endpoint that does not answer."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from worker.client.job_state import QUEUED, EndpointError, JobTimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.client.job_state import JobState

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 2.0
PATIENCE_S = 30.0
BUSY = (429, 502, 503, 504)
FIRST_LOOK_S, NEXT_LOOK_S = 8.0, 15.0
"""Times at which an endpoint is asked for its health while a job stays in its queue."""


class Polling:
    """The schedule of questions about one job: often after news, ever less often without; pure.

    Args:
        job_id: The job's.
        timeout: Seconds from `now` on.
        now: Monotonic seconds.
    """

    def __init__(self, job_id: str, timeout: float | None, now: float) -> None:
        self._job_id, self._timeout, self._began = job_id, timeout, now
        self._told: JobState | None = None
        self._asked = 0
        self._lost_at: float | None = None
        self._look_at = now + FIRST_LOOK_S
        self._reason: str | None = None

    def wants_reason(self, state: JobState, now: float) -> bool:
        """Return whether it is time to find out why the job still waits."""
        if state.status != QUEUED:
            self._reason = None
            return False
        if now < self._look_at:
            return False
        self._look_at = now + NEXT_LOOK_S
        return True

    def note_reason(self, reason: str | None) -> None:
        """Take note of why the job still waits, for the error when the time is over."""
        self._reason = reason

    def is_news(self, state: JobState) -> bool:
        """Return whether `state` differs from the last one."""
        news = state != self._told
        if news:
            self._told = state
            self.hear()
        return news

    def hear(self) -> None:
        """Take note of news of another kind."""
        self._asked = 0

    def pause_s(self, now: float) -> float:
        """Return how long to wait before the next question.

        Raises:
            JobTimedOut: the time is over.
        """
        left = LONGEST_PAUSE_S if self._timeout is None else self._began + self._timeout - now
        if left <= 0:
            why = f": {self._reason}" if self._reason else ""
            raise JobTimedOut(f"job {self._job_id} is not over after {self._timeout:g} s{why}", self._job_id)
        self._asked += 1
        return min(left, LONGEST_PAUSE_S, FIRST_PAUSE_S * 1.5 ** min(self._asked, 10))

    @contextlib.contextmanager
    def patiently(self, now: Callable[[], float]) -> Iterator[None]:
        """Bear for a while that a question is not answered: no net for a moment, a proxy that starts anew.

        Raises:
            EndpointError: it was refused, or nothing has been heard for `PATIENCE_S`.
        """
        try:
            yield
        except EndpointError as error:
            self._lost_at = now() if self._lost_at is None else self._lost_at
            if error.status not in (0, *BUSY) or now() - self._lost_at > PATIENCE_S:
                raise
        else:
            self._lost_at = None
