"""Result cache: pictures that were made before are not made again."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from worker.common.cancellation import of_others_too
from worker.common.clock import running
from worker.errors import NotCached
from worker.jobs.cache.cache_storage import expired
from worker.jobs.cache.packed_results import BrokenResult, pack, unpack
from worker.storage.store_errors import StoreError
from worker.telemetry.logs import get_logger
from worker.telemetry.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.gpu_queue import GpuQueue
    from worker.jobs.cache.cache_storage import CacheStorage
    from worker.jobs.cache.result_leases import ResultLeases
    from worker.jobs.job_context import JobContext, JobThreads
    from worker.jobs.results import Generated
    from worker.models.volume.leases import Lease

TIDY_EVERY_S = 30.0
LOOK_EVERY_S = 0.25
"""Between two looks whether another worker has made what is waited for."""


@dataclass(slots=True)
class CacheFigures:
    """Counts of results that were found, made anew, and shared with an equal request at the same time."""

    hits: int = 0
    misses: int = 0
    shared: int = 0
    saved_s: float = 0.0


class ResultCache:
    """Finds results, or makes and keeps them; one for the worker's life.

    Args:
        storage: Where entries are; None: nothing is kept.
        leases: Which worker makes what several of them want at once.
        gpu: A job that keeps others from it lets them have it while it waits for one of them.
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
        leases: ResultLeases,
        gpu: GpuQueue,
        threads: JobThreads,
        *,
        age_s: float,
        most_bytes: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._storage = storage
        self._leases = leases
        self._gpu = gpu
        self._threads = threads
        self._age_s = age_s
        self._most_bytes = most_bytes
        self._now = now
        self._being_made: dict[str, asyncio.Future[Generated | None]] = {}
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
        while context.cache != "refresh":
            found = await self._found(key, context)
            if found is not None:
                return found
            if key in self._being_made:
                continue  # somebody has begun meanwhile
            if context.cache == "only":
                raise NotCached("the pictures are not in the cache", details={"key": key})
            break
        return await self._share(key, make, context)

    async def _found(self, key: str, context: JobContext) -> Generated | None:
        """Return an earlier result, or that of an equal request of this worker, for which it waits; None: neither."""
        with context.phases.phase("cache"):
            other = self._being_made.get(key)
            if other is None:
                return await self._kept(key)
            if other.done():
                made = other.result()
            else:
                self._gpu.let_others_in()
                made = await context.before_deadline(of_others_too(other), "the same pictures were there")
        if made is not None:  # else it failed for reasons that may have been its own
            self.figures.shared += 1
        return made

    async def _kept(self, key: str) -> Generated | None:
        """Return an earlier result that was kept."""
        found = await self._threads.run(self._read, key)
        if found is not None:
            self.figures.hits += 1
            self.figures.saved_s += (found.cached or {}).get("saved_ms", 0.0) / 1000
        return found

    async def _share(self, key: str, make: Callable[[], Awaitable[Generated]], context: JobContext) -> Generated:
        """Return what `make` makes, or what another worker makes at the same time; equal requests get the same."""
        future: asyncio.Future[Generated | None] = asyncio.get_running_loop().create_future()
        self._being_made[key] = future
        lease: Lease | None = None
        shared: Generated | None = None
        is_kept = False
        try:
            lease, shared = await self._claimed(key, context)
            if shared is not None:
                return shared
            self.figures.misses += 1
            before = context.phases.seconds().get("generate", 0.0)
            result = await make()
            if result.is_whole:
                spent_s = context.phases.seconds().get("generate", 0.0) - before
                shared = replace(result, cached=_told(key, self._now(), spent_s))
                # Written beside the next request: until it is there, equal ones are answered with what is in memory.
                keeping = self._threads.pool.submit(self._keep, key, result, self._now(), spent_s, lease)
                keeping.add_done_callback(lambda _: self._forget(key, future))
                is_kept = True
            return result
        finally:
            future.set_result(shared)
            if not is_kept:
                self._forget(key, future)
                if lease is not None:
                    self._threads.pool.submit(lease.release)

    async def _claimed(self, key: str, context: JobContext) -> tuple[Lease | None, Generated | None]:
        """Return the lease to make a result, or the result, where another worker on the volume has made it meanwhile.

        Neither, where leases can't be had, or when half of the job's time has gone by: the rest is for making it here.
        Whoever waits holds no lease and keeps nobody from the GPU, so no two can wait for each other.
        """
        until = (running() + context.deadline) / 2
        with context.phases.phase("cache"):
            while True:
                try:
                    lease = await self._leases.take(key)
                except OSError as error:
                    self._log.warning("no lease of a result could be taken", key=key, error=str(error))
                    return None, None
                if lease is not None:
                    return await self._unless_kept(key, lease, context)
                if context.cache == "refresh" or running() >= until:
                    return None, None
                self._gpu.let_others_in()
                context.on_progress(Progress(stage="prepare", message="another worker is making the same pictures"))
                await asyncio.sleep(LOOK_EVERY_S)

    async def _unless_kept(self, key: str, lease: Lease, context: JobContext) -> tuple[Lease | None, Generated | None]:
        """Return the lease, or the result of whoever had it before."""
        found = None
        is_needed = False
        try:
            found = None if context.cache == "refresh" else await self._kept(key)
            is_needed = found is None
        finally:
            if not is_needed:
                self._threads.pool.submit(lease.release)
        return (lease if is_needed else None), found

    def _forget(self, key: str, future: asyncio.Future[Generated | None]) -> None:
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

    def _keep(self, key: str, result: Generated, made_at: float, spent_s: float, lease: Lease | None) -> None:
        """Write a result down, and only then let other workers have its lease."""
        try:
            if self._storage is None:
                return
            self._storage.write(key, pack(result, made_at=made_at, saved_ms=round(spent_s * 1000, 1)))
            if self._now() - self._tidied >= TIDY_EVERY_S:
                self._tidied = self._now()
                self.tidy()
        except (OSError, StoreError, TypeError) as error:
            self._log.warning("a result could not be kept in the cache", key=key, error=str(error))
        finally:
            if lease is not None:
                lease.release()

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
