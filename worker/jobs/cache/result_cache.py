"""Result cache: pictures that were made before are not made again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from worker.errors import NotCached
from worker.jobs.cache.cache_storage import expired
from worker.jobs.cache.packed_results import BrokenResult, pack, unpack
from worker.storage.store_errors import StoreError
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.gpu_queue import GpuQueue
    from worker.jobs.cache.cache_storage import CacheStorage
    from worker.jobs.job_context import JobContext, JobThreads
    from worker.jobs.results import Generated

TIDY_EVERY_S = 30.0


@dataclass(slots=True)
class CacheFigures:
    """Counts of results that were found, made anew, and shared with an equal request at the same time."""

    hits: int = 0
    misses: int = 0
    shared: int = 0
    saved_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Made:
    """A result that was made just now: when, seconds since the epoch, and the seconds that its generation took."""

    result: Generated
    at: float
    spent_s: float


class ResultCache:
    """Finds results, or makes and keeps them; one for the worker's life.

    Args:
        storage: Where entries are; None: nothing is kept.
        gpu: A job that keeps others from the GPU must not wait for one of them.
        threads: For everything that blocks.
        age_s: What was made longer ago is made anew.
        most_bytes: Of all entries.
        now: Seconds since the epoch.

    Attributes:
        figures: Of this worker.
    """

    def __init__(
        self,
        storage: CacheStorage | None,
        gpu: GpuQueue,
        threads: JobThreads,
        *,
        age_s: float,
        most_bytes: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._gpu = gpu
        self._threads = threads
        self._age_s = age_s
        self._most_bytes = most_bytes
        self._now = now
        self._being_made: dict[str, asyncio.Future[_Made | None]] = {}
        self._tidied = 0.0
        self._log = get_logger("cache")
        self.figures = CacheFigures()

    async def result(
        self, digest: Callable[[], str | None], make: Callable[[], Awaitable[Generated]], context: JobContext
    ) -> Generated:
        """Return the result of a request: an earlier one, or what `make` makes, which is kept.

        Args:
            digest: Returns the request's digest, None for one that can't be known; blocking.
            make: Makes the result.
            context: Of the job; its `cache` says what is wanted.

        Raises:
            NotCached: the job wants an earlier result only, and there is none.
            WorkerError: as `make` does.
        """
        if self._storage is None or context.cache == "off":
            key = None
        else:
            with context.phases.phase("cache"):
                key = await self._threads.run(digest)
        if key is None:
            if context.cache == "only":
                raise NotCached("the pictures are not in the cache, which is off or can't hold these")
            return await make()
        if context.cache != "refresh":
            found = await self._found(key, context)
            if found is not None:
                return found
            if context.cache == "only":
                raise NotCached("the pictures are not in the cache", details={"key": key})
        return await self._made(key, make, context)

    async def _found(self, key: str, context: JobContext) -> Generated | None:
        with context.phases.phase("cache"):
            found = await self._threads.run(self._read, key)
        if found is not None:
            self.figures.hits += 1
            self.figures.saved_s += (found.cached or {}).get("saved_ms", 0.0) / 1000
            return found
        other = self._being_made.get(key)
        if other is None or (not other.done() and self._gpu.is_reserved_here):
            return None
        with context.phases.phase("cache"):
            made = other.result() if other.done() else await context.before_deadline(asyncio.shield(other))
        if made is None:  # it failed for reasons that may have been its own
            return None
        self.figures.shared += 1
        return replace(made.result, cached=_told(key, made.at, made.spent_s))

    async def _made(self, key: str, make: Callable[[], Awaitable[Generated]], context: JobContext) -> Generated:
        self.figures.misses += 1
        before = context.phases.seconds().get("generate", 0.0)
        future: asyncio.Future[_Made | None] = asyncio.get_running_loop().create_future()
        self._being_made[key] = future
        made: _Made | None = None
        try:
            result = await make()
            if not result.is_whole:
                return result
            made = _Made(result, self._now(), context.phases.seconds().get("generate", 0.0) - before)
        finally:
            future.set_result(made)
            if made is None:
                self._forget(key, future)
        # Written beside the next request: until it is there, equal requests are answered with what is in memory.
        keeping = self._threads.pool.submit(self._keep, key, made)
        keeping.add_done_callback(lambda _: self._forget(key, future))
        return result

    def _forget(self, key: str, future: asyncio.Future[_Made | None]) -> None:
        if self._being_made.get(key) is future:
            del self._being_made[key]

    def _read(self, key: str) -> Generated | None:
        if self._storage is None:
            return None
        try:
            data = self._storage.read(key)
            if data is None:
                return None
            result, facts = unpack(data)
        except (OSError, StoreError, BrokenResult) as error:
            self._log.warning("an entry of the cache could not be read", key=key, error=str(error))
            return None
        made_at = float(facts["made_at"])
        if self._now() - made_at >= self._age_s:
            return None
        return replace(result, cached=_told(key, made_at, facts["saved_ms"] / 1000))

    def _keep(self, key: str, made: _Made) -> None:
        if self._storage is None:
            return
        try:
            self._storage.write(key, pack(made.result, made_at=made.at, saved_ms=round(made.spent_s * 1000, 1)))
            if self._now() - self._tidied >= TIDY_EVERY_S:
                self._tidied = self._now()
                self.tidy()
        except (OSError, StoreError, TypeError) as error:
            self._log.warning("a result could not be kept in the cache", key=key, error=str(error))

    def tidy(self) -> None:
        """Remove what is over the limits. Blocking; raises as the storage does."""
        if self._storage is None:
            return
        limits: dict[str, Any] = {"age_s": self._age_s, "most_bytes": self._most_bytes}
        for entry in expired(self._storage.entries(), now=self._now(), **limits):
            self._storage.remove(entry.key)


def _told(key: str, made_at: float, spent_s: float) -> dict[str, Any]:
    """Return what the answer says of a result of the cache."""
    when = datetime.fromtimestamp(made_at, timezone.utc).isoformat(timespec="seconds")
    return {"key": key, "made_at": when, "saved_ms": round(spent_s * 1000, 1)}
