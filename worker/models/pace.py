"""How a transfer goes about it, and how it ends: the data and decisions of `worker.models.transfer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from worker.net.errors import FetchError

MIN_PIECE = 4 * 1024 * 1024
MAX_PIECE = 32 * 1024 * 1024
_ROUNDS = 6  # pieces per connection, so that all finish at about the same time


class Stopped(Exception):
    """The fetch was told to stop; what is there stays for a resume."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard a transfer tries.

    Attributes:
        connections: At most, at once.
        strikes: Failures of one worker in a row, without any progress anywhere, until the fetch fails.
        first_wait_s: After the first failure; doubles with each.
        longest_wait_s: Of one wait; a `Retry-After` beyond it ends the fetch.
        save_every_s: Between records of what is there for good.
        note_every_s: Between records of what is there as long as the machine runs.
        tell_every_s: Between reports of progress.
    """

    connections: int = 16
    strikes: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    save_every_s: float = 5.0
    note_every_s: float = 0.5
    tell_every_s: float = 0.25


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole file.

    Attributes:
        size: Bytes.
        sha256: Hex.
        tag: The source's `ETag` or `Last-Modified`.
    """

    size: int
    sha256: str
    tag: str | None


def pause(error: FetchError, strikes: int, pace: Pace, jitter: float) -> float:
    """Return the seconds to wait before the next try after `strikes` failures; raises `error` when there is none.

    A source that names a time is never asked before it; other waits are multiplied by `jitter`.
    """
    if not error.retryable or strikes >= pace.strikes:
        raise error
    wait: float = min(pace.first_wait_s * 2.0 ** (strikes - 1), pace.longest_wait_s) * jitter
    asked: float | None = getattr(error, "retry_after_s", None)
    if asked is None:
        return wait
    if asked > pace.longest_wait_s:
        raise error
    return max(wait, asked)


def pieces(gaps: list[tuple[int, int]], size: int, connections: int) -> list[tuple[int, int]]:
    """Cut what is missing into pieces: enough for every connection to have some, not so many that latency counts."""
    length = max(MIN_PIECE, min(MAX_PIECE, size // (connections * _ROUNDS)))
    return [(start, min(start + length, end)) for begin, end in gaps for start in range(begin, end, length)]
