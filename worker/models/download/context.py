"""The parameters of a download: the job, the services that it uses, and the retry settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.contract.types.model_ref import ModelRef
    from worker.models.download.download_progress import DownloadState
    from worker.models.sources.references import Sources
    from worker.models.volume.eviction import Evictor
    from worker.models.volume.in_use import UsageMarkers
    from worker.models.volume.inventory import Inventory
    from worker.models.volume.leases import Lease
    from worker.models.volume.model_resolver import Resolution
    from worker.net.fetch_errors import FetchError


@dataclass(frozen=True, slots=True)
class DownloadRules:
    """Rules for downloads: permitted files, and limits on the effort.

    Attributes:
        allow_pickle: Formats that can run code are allowed.
        max_bytes: The longest file.
        retry: Connections and retries.
        jitter: A factor for waits, about 1.
    """

    allow_pickle: bool
    max_bytes: int
    retry: RetrySettings
    jitter: Callable[[], float]


@dataclass(frozen=True, slots=True)
class DownloadContext:
    """With what models are brought onto one volume.

    Attributes:
        inventory: What is there.
        marks: Keeps what has just come from being removed.
        space: Makes room.
        sources: Where models come from.
        rules: What may be fetched.
        owner: This process, in the names of its partial files.
    """

    inventory: Inventory
    marks: UsageMarkers
    space: Evictor
    sources: Sources
    rules: DownloadRules
    owner: str


@dataclass(frozen=True, slots=True)
class DownloadJob:
    """One model to bring.

    Attributes:
        resolution: What is wanted and where it is.
        ref: As the client wrote it: its hash and token count.
        path: The field in the job, for errors.
        state: Told how far it is; can stop it.
        lease: The right to fetch it; None where there are no leases.
    """

    resolution: Resolution
    ref: ModelRef
    path: str
    state: DownloadState
    lease: Lease | None

    @property
    def at(self) -> str:
        """Return the beginning of an error's message."""
        return f"{self.path}: " if self.path else ""


MIN_PIECE = 4 * 1024 * 1024
MAX_PIECE = 32 * 1024 * 1024
_ROUNDS = 6  # pieces per connection, so that all finish at about the same time


class Stopped(Exception):
    """The fetch was told to stop; what is there stays for a resume."""


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """Retries and time limits of a transfer.

    Attributes:
        connections: At most, at once.
        attempts: Failures of one worker in a row, without any progress anywhere, until the fetch fails.
        first_wait_s: After the first failure; doubles with each.
        longest_wait_s: Of one wait; a `Retry-After` beyond it ends the fetch.
        save_every_s: Between records of what is there for good.
        note_every_s: Between records of what is there as long as the machine runs.
        tell_every_s: Between reports of progress.
        patience_s: In which `least_bytes` have to come, pauses included: a source that trickles keeps others waiting.
    """

    connections: int = 16
    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    save_every_s: float = 5.0
    note_every_s: float = 0.5
    tell_every_s: float = 0.25
    patience_s: float = 60.0
    least_bytes: int = 1 << 19


@dataclass(frozen=True, slots=True)
class DownloadedFile:
    """A whole file.

    Attributes:
        size: Bytes.
        sha256: Hex.
        tag: The source's `ETag` or `Last-Modified`.
    """

    size: int
    sha256: str
    tag: str | None


def pause(error: FetchError, attempts: int, retry: RetrySettings, jitter: float) -> float:
    """Return the seconds to wait before the next try after `attempts` failures; raises `error` when there is none.

    A source that names a time is never asked before it; other waits are multiplied by `jitter`.
    """
    if not error.retryable or attempts >= retry.attempts:
        raise error
    wait: float = min(retry.first_wait_s * 2.0 ** (attempts - 1), retry.longest_wait_s) * jitter
    asked: float | None = getattr(error, "retry_after_s", None)
    if asked is None:
        return wait
    if asked > retry.longest_wait_s:
        raise error
    return max(wait, asked)


def pieces(gaps: list[tuple[int, int]], size: int, connections: int) -> list[tuple[int, int]]:
    """Cut what is missing into pieces: enough for every connection to have some, not so many that latency counts."""
    length = max(MIN_PIECE, min(MAX_PIECE, size // (connections * _ROUNDS)))
    return [(start, min(start + length, end)) for begin, end in gaps for start in range(begin, end, length)]
