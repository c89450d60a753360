"""One fetch per file, however many jobs and workers want it.

Within the process: whoever wants what is already on its way joins that flight. Between workers: the one with the lease
fetches, the others look on, and go on with its work when it dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.errors import InvalidInput, WorkerError
from worker.models.attempt import TakenOver
from worker.models.fetching import bring
from worker.models.flight import Flight
from worker.models.order import Order
from worker.models.pace import Stopped
from worker.models.references import own_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.contract.types.model_ref import ModelRef
    from worker.models.choose import Choice
    from worker.models.lease import Lease, Leases
    from worker.models.order import Means

_LOOK_S = 0.2
_THREADS = 16

_Needs = tuple[str | None, str | None]
"""The hash and the token of who wants a file: where they differ one's failure is not the other's."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A flight, what it brings, how it will end, and for whom it was started."""

    flight: Flight
    choice: Choice
    future: Future[bool]
    needs: _Needs = field(repr=False)
    path: str


class Supply:
    """Gets files that are not there.

    Args:
        means: With what files are brought.
        leases: Who fetches what among the workers.
        at_once: Files fetched at the same time by this process.
    """

    def __init__(self, means: Means, leases: Leases, *, at_once: int) -> None:
        self._means = means
        self._leases = leases
        self._gate = threading.BoundedSemaphore(at_once)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="models")
        self._mutex = threading.Lock()
        self._flights: dict[str, _Known] = {}  # by what is fetched

    async def get(
        self, choose: Callable[[], Choice], ref: ModelRef, path: str, *, joined: Callable[[Flight], None]
    ) -> bool:
        """Return when the file is there: True when it was fetched for this call, False when it had come meanwhile.

        Args:
            choose: Looks again what the reference means now.
            ref: As the client wrote it.
            path: The field in the job.
            joined: Called with the flight that brings it.

        Raises:
            DownloadFailed, DownloadRefused, HashMismatch, ModelNotFound, NoSpace: it can't be had.
        """
        while True:
            choice = await asyncio.to_thread(choose)
            if choice.file is not None:
                return False
            with self._mutex:
                known = self._bringing(choice) or self._start(choose, choice, ref, path)
                same = known.choice.identity == choice.identity and known.needs == _needs(ref)
                joins = same and not known.flight.stop.is_set()
                known.flight.waiters += joins
            joined(known.flight)
            if joins:
                return await self._end_of(known, path)
            end = asyncio.shield(asyncio.wrap_future(known.future))
            await asyncio.gather(end, return_exceptions=True)  # how it ends says nothing about this one

    async def _end_of(self, known: _Known, path: str) -> bool:
        """Return whether the flight fetched the file; an error is told at the field of who waits."""
        try:
            return await asyncio.shield(asyncio.wrap_future(known.future))
        except WorkerError as error:
            raise _told_at(error, known.path, path) from None
        finally:
            with self._mutex:
                known.flight.waiters -= 1
                if known.flight.waiters == 0:
                    known.flight.stop.set()

    def aside(self, work: Callable[[], None]) -> None:
        """Do something in a thread of ours."""
        self._pool.submit(work)

    def close(self) -> None:
        """Stop every fetch; what is there stays for a resume."""
        with self._mutex:
            for known in self._flights.values():
                known.flight.stop.set()
        self._pool.shutdown(wait=True)

    def _bringing(self, choice: Choice) -> _Known | None:
        """Return the flight to the chosen file, else one that brings the same under another name; the mutex is ours."""
        sources = {locator.key for locator in choice.locators}
        alike = (
            known
            for known in self._flights.values()
            if known.choice.kind == choice.kind and sources.intersection(each.key for each in known.choice.locators)
        )
        return self._flights.get(choice.identity) or next(alike, None)

    def _start(self, choose: Callable[[], Choice], choice: Choice, ref: ModelRef, path: str) -> _Known:
        """Start a flight; the mutex is ours."""
        flight = Flight(choice.name or ref.shown)
        future = self._pool.submit(self._fly_and_land, choose, choice, ref, path, flight)
        known = self._flights[choice.identity] = _Known(flight, choice, future, _needs(ref), path)
        return known

    def _fly_and_land(
        self, choose: Callable[[], Choice], choice: Choice, ref: ModelRef, path: str, flight: Flight
    ) -> bool:
        try:
            return self._fly(choose, choice, ref, path, flight)
        finally:
            with self._mutex:
                del self._flights[choice.identity]

    def _fly(self, choose: Callable[[], Choice], choice: Choice, ref: ModelRef, path: str, flight: Flight) -> bool:
        """Bring what is chosen, or see it come; also return False when the reference means another file by now."""
        while True:
            with self._gate:
                lease, free = self._try_lease(choice.identity)
                try:
                    now = choose()
                    if now.file is not None or now.identity != choice.identity:
                        return False
                    if free:
                        bring(Order(now, ref, path, flight, lease), self._means)
                        return True
                except TakenOver:
                    continue  # somebody else fetches it now
                finally:
                    if lease is not None:
                        lease.release()
            self._look_on(choice.identity, flight)

    def _try_lease(self, identity: str) -> tuple[Lease | None, bool]:
        """Return the lease, and whether this process may fetch: without leases everybody may."""
        try:
            lease = self._leases.take(identity)
        except OSError:
            return None, True
        return lease, lease is not None

    def _look_on(self, identity: str, flight: Flight) -> None:
        """Return when the other worker's lease is gone, or was broken because its owner is."""
        for sight, stale in self._leases.watch(identity):
            if sight is None:
                return
            if stale:
                with contextlib.suppress(OSError):  # a full disk: whoever wants the file goes on without a lease
                    taken = self._leases.take(identity, instead_of=sight)
                    if taken is not None:
                        taken.release()
                return
            flight.tell(sight.done, sight.total, waiting=True)
            if flight.stop.wait(_LOOK_S):
                raise Stopped


def _needs(ref: ModelRef) -> _Needs:
    return ref.sha256, own_token(ref)


def _told_at(error: WorkerError, was: str, path: str) -> WorkerError:
    """Return an error that came up for one job's field as it is told to a job that named the model in another."""
    if was == path or isinstance(error, InvalidInput):
        return error
    words = error.message.removeprefix(f"{was}: ") if was else error.message
    return type(error)(f"{path}: {words}" if path else words, hint=error.hint, details={**error.details, "path": path})
