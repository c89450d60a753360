"""The line of jobs that wait to be sent, shared by all endpoints of a batch, and what becomes of one that failed."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import requests

from worker.client.job_state import EndpointError, JobFailed, JobTimedOut
from worker.client.polling import BUSY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.client.batch.batch_items import BatchItem

ATTEMPTS = 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
_NOT_FOUND = 404
_KEY_REFUSED = (401, 403)


@dataclass(frozen=True, slots=True)
class BatchAttempt:
    """A job that is to be sent now.

    Attributes:
        item: The job.
        number: From 1.
    """

    item: BatchItem
    number: int = 1


class AttemptQueue:
    """Hands each job to one thread at a time; thread-safe.

    Args:
        items: The jobs; taken as they are needed.
        clock: Monotonic seconds.
    """

    def __init__(self, items: Iterator[BatchItem], clock: Callable[[], float]) -> None:
        self._items = items
        self._clock = clock
        self._news = threading.Condition()
        self._waiting: list[tuple[float, BatchAttempt]] = []
        self._out = 0
        self._is_drained = self._is_closed = False

    def take(self) -> BatchAttempt | None:
        """Wait for a job and return it; None: there will be none."""
        with self._news:
            while not self._is_closed:
                now = self._clock()
                ready = next((entry for entry in self._waiting if entry[0] <= now), None)
                if ready is not None:
                    self._waiting.remove(ready)
                    self._out += 1
                    return ready[1]
                item = None if self._is_drained else next(self._items, None)
                if item is not None:
                    self._out += 1
                    return BatchAttempt(item)
                self._is_drained = True
                if not self._waiting and not self._out:
                    self._news.notify_all()
                    return None
                self._news.wait(min((at for at, _ in self._waiting), default=now + LONGEST_PAUSE_S) - now)
            return None

    def put_back(self, attempt: BatchAttempt, *, after_s: float, counts: bool) -> None:
        """Let a job be sent again.

        Args:
            attempt: That did not succeed.
            after_s: Seconds from now.
            counts: Whether it was an attempt; a job that no endpoint took was none.
        """
        again = replace(attempt, number=attempt.number + 1) if counts else attempt
        with self._news:
            self._waiting.append((self._clock() + after_s, again))
            self._out -= 1
            self._news.notify_all()

    def settle(self) -> None:
        """Take note that a job which was taken is over."""
        with self._news:
            self._out -= 1
            self._news.notify_all()

    def close(self) -> None:
        """Hand out no more jobs."""
        with self._news:
            self._is_closed = True
            self._news.notify_all()


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """The consequence of a failed attempt.

    Attributes:
        message: Why.
        is_worth_another: Whether the same job may succeed later.
        is_refused: Whether the job itself is wrong, with whatever seed.
        endpoint: What it says about the endpoint: nothing, that it rests, or that it can't be used.
    """

    message: str
    is_worth_another: bool = False
    is_refused: bool = False
    endpoint: str = ""


RESTS, UNUSABLE = "rests", "unusable"


def classify_failure(error: Exception, *, was_sent: bool) -> FailedAttempt:
    """Return what follows from an error.

    Args:
        error: That ended the attempt.
        was_sent: Whether the endpoint had taken the job.
    """
    if isinstance(error, JobFailed):
        by_platform = not error.code and error.fault == "platform"
        return FailedAttempt(str(error), error.retryable or by_platform, error.code == "invalid_input")
    if isinstance(error, JobTimedOut):
        return FailedAttempt(str(error), is_worth_another=True)
    if isinstance(error, EndpointError):
        return _classify_refusal(error, was_sent=was_sent)
    if isinstance(error, requests.RequestException):
        return FailedAttempt(f"the picture can't be downloaded: {error}", is_worth_another=True)
    return FailedAttempt(f"the answer can't be used: {error}")


def _classify_refusal(error: EndpointError, *, was_sent: bool) -> FailedAttempt:
    if error.status == _NOT_FOUND and was_sent:  # its worker is gone, and the job with it
        return FailedAttempt(str(error), is_worth_another=True)
    endpoint = ""
    if error.status in (*_KEY_REFUSED, _NOT_FOUND):
        endpoint = UNUSABLE
    elif error.status in (0, *BUSY):
        endpoint = RESTS
    return FailedAttempt(str(error), endpoint=endpoint)


def pause_s(number: int) -> float:
    """Return how long to wait after so many failures in a row, in seconds."""
    return float(min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (number - 1)))
