"""Download queue: one download per file, however many jobs and workers want it.

Within the process a second request for a file joins the download that is under way. Between workers the holder of the
lease downloads; the others wait, and carry on with its work when it dies.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.common.cancellation import of_others_too
from worker.errors import InvalidInput, WorkerError
from worker.models.download.attempt import TakenOver, bring
from worker.models.download.context import DownloadJob, Stopped
from worker.models.download.download_progress import DownloadState
from worker.models.sources.references import own_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.contract.types.model_ref import ModelRef
    from worker.models.download.context import DownloadContext
    from worker.models.volume.leases import Lease, LeaseTable
    from worker.models.volume.model_resolver import Resolution

_LOOK_S = 0.2
_THREADS = 16

_Needs = tuple[str | None, str | None]
"""The hash and the token of who wants a file: where they differ one's failure is not the other's."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A state, what it brings, how it will end, and for whom it was started."""

    state: DownloadState
    resolution: Resolution
    future: Future[bool]
    needs: _Needs = field(repr=False)
    path: str


class DownloadQueue:
    """Gets files that are not there.

    Args:
        means: With what files are brought.
        leases: Who fetches what among the workers.
        at_once: Files fetched at the same time by this process.
    """

    def __init__(self, means: DownloadContext, leases: LeaseTable, *, at_once: int) -> None:
        self._means = means
        self._leases = leases
        self._gate = threading.BoundedSemaphore(at_once)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="models")
        self._mutex = threading.Lock()
        self._flights: dict[str, _Known] = {}  # by what is fetched

    async def get(
        self, resolve: Callable[[], Resolution], ref: ModelRef, path: str, *, joined: Callable[[DownloadState], None]
    ) -> bool:
        """Return when the file is there: True when it was fetched for this call, False when it had come meanwhile.

        Args:
            resolve: Looks again what the reference means now.
            ref: As the client wrote it.
            path: The field in the job.
            joined: Called with the state that brings it.

        Raises:
            DownloadFailed, DownloadRefused, HashMismatch, ModelNotFound, NoSpace: it can't be had.
        """
        while True:
            resolution = await asyncio.to_thread(resolve)
            if resolution.file is not None:
                return False
            with self._mutex:
                known = self._bringing(resolution) or self._start(resolve, resolution, ref, path)
                same = known.resolution.identity == resolution.identity and known.needs == _needs(ref)
                joins = same and not known.state.stop.is_set()
                known.state.waiters += joins
            joined(known.state)
            if joins:
                return await self._end_of(known, path)
            end = of_others_too(asyncio.wrap_future(known.future))
            await asyncio.gather(end, return_exceptions=True)  # how it ends says nothing about this one

    async def _end_of(self, known: _Known, path: str) -> bool:
        """Return whether the state fetched the file; an error is told at the field of who waits."""
        try:
            return await of_others_too(asyncio.wrap_future(known.future))
        except WorkerError as error:
            raise _told_at(error, known.path, path) from None
        finally:
            with self._mutex:
                known.state.waiters -= 1
                if known.state.waiters == 0:
                    known.state.stop.set()

    def aside(self, work: Callable[[], None]) -> None:
        """Do something in a thread of ours."""
        self._pool.submit(work)

    def close(self) -> None:
        """Stop every fetch; what is there stays for a resume."""
        with self._mutex:
            for known in self._flights.values():
                known.state.stop.set()
        self._means.sources.abort()  # a source that says nothing would hold a thread for as long as it may
        self._pool.shutdown(wait=True)

    def _bringing(self, resolution: Resolution) -> _Known | None:
        """Return the state to the chosen file, else one that brings the same under another name; the mutex is ours."""
        sources = {locator.key for locator in resolution.locators}
        alike = (
            known
            for known in self._flights.values()
            if known.resolution.kind == resolution.kind
            and sources.intersection(each.key for each in known.resolution.locators)
        )
        return self._flights.get(resolution.identity) or next(alike, None)

    def _start(self, resolve: Callable[[], Resolution], resolution: Resolution, ref: ModelRef, path: str) -> _Known:
        """Start a state; the mutex is ours."""
        state = DownloadState(resolution.name or ref.shown)
        future = self._pool.submit(self._fly_and_land, resolve, resolution, ref, path, state)
        known = self._flights[resolution.identity] = _Known(state, resolution, future, _needs(ref), path)
        return known

    def _fly_and_land(
        self, resolve: Callable[[], Resolution], resolution: Resolution, ref: ModelRef, path: str, state: DownloadState
    ) -> bool:
        try:
            return self._fly(resolve, resolution, ref, path, state)
        finally:
            with self._mutex:
                del self._flights[resolution.identity]

    def _fly(
        self, resolve: Callable[[], Resolution], resolution: Resolution, ref: ModelRef, path: str, state: DownloadState
    ) -> bool:
        """Bring what is chosen, or see it come; also return False when the reference means another file by now."""
        while True:
            with self._gate:
                lease, free = self._try_lease(resolution.identity)
                try:
                    now = resolve()
                    if now.file is not None or now.identity != resolution.identity:
                        return False
                    if free:
                        bring(DownloadJob(now, ref, path, state, lease), self._means)
                        return True
                except TakenOver:
                    continue  # somebody else fetches it now
                finally:
                    if lease is not None:
                        lease.release()
            self._look_on(resolution.identity, state)

    def _try_lease(self, identity: str) -> tuple[Lease | None, bool]:
        """Return the lease, and whether this process may fetch: without leases everybody may."""
        try:
            lease = self._leases.take(identity)
        except OSError:
            return None, True
        return lease, lease is not None

    def _look_on(self, identity: str, state: DownloadState) -> None:
        """Return when the other worker's lease is gone, or was broken because its owner is."""
        while True:
            try:
                lease = self._leases.take(identity)
            except OSError:  # the download goes on without a lease
                return
            if lease is not None:
                lease.release()
                return
            seen = self._leases.look(identity)
            state.tell(seen.done, seen.total, waiting=True)
            if state.stop.wait(_LOOK_S):
                raise Stopped


def _needs(ref: ModelRef) -> _Needs:
    return ref.sha256, own_token(ref)


def _told_at(error: WorkerError, was: str, path: str) -> WorkerError:
    """Return an error that came up for one job's field as it is told to a job that named the model in another."""
    if was == path or isinstance(error, InvalidInput):
        return error
    words = error.message.removeprefix(f"{was}: ") if was else error.message
    return type(error)(f"{path}: {words}" if path else words, hint=error.hint, details={**error.details, "path": path})
