"""One fetch per file, however many jobs and workers want it.

Within the process: whoever wants what is already on its way joins that flight. Between workers: the one with the lease
fetches, the others look on, and go on with its work when it dies.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from worker.models.attempt import TakenOver
from worker.models.fetching import bring
from worker.models.flight import Flight
from worker.models.order import Order
from worker.models.pace import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.contract.models import ModelRef
    from worker.models.choose import Choice
    from worker.models.lease import Lease, Leases
    from worker.models.order import Means

_LOOK_S = 0.2
_THREADS = 16


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
        self._flights: dict[str, tuple[Flight, Future[bool]]] = {}

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
        choice = choose()
        while True:
            with self._mutex:
                known = self._flights.get(choice.identity)
                if known is None or not known[0].stop.is_set():
                    flight, future = known or self._start(choose, choice, ref, path)
                    flight.waiters += 1
                    break
            await asyncio.wait([asyncio.wrap_future(known[1])])  # told to stop just before: let it end
        joined(flight)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        finally:
            with self._mutex:
                flight.waiters -= 1
                if flight.waiters == 0:
                    flight.stop.set()

    def aside(self, work: Callable[[], None]) -> None:
        """Do something in a thread of ours."""
        self._pool.submit(work)

    def close(self) -> None:
        """Stop every fetch; what is there stays for a resume."""
        with self._mutex:
            for flight, _ in self._flights.values():
                flight.stop.set()
        self._pool.shutdown(wait=True)

    def _start(
        self, choose: Callable[[], Choice], choice: Choice, ref: ModelRef, path: str
    ) -> tuple[Flight, Future[bool]]:
        """Start a flight; the mutex is ours."""
        flight = Flight(choice.name or ref.ref)
        future = self._pool.submit(self._fly_and_land, choose, choice, ref, path, flight)
        self._flights[choice.identity] = (flight, future)
        return flight, future

    def _fly_and_land(
        self, choose: Callable[[], Choice], choice: Choice, ref: ModelRef, path: str, flight: Flight
    ) -> bool:
        try:
            return self._fly(choose, choice, ref, path, flight)
        finally:
            with self._mutex:
                del self._flights[choice.identity]

    def _fly(self, choose: Callable[[], Choice], choice: Choice, ref: ModelRef, path: str, flight: Flight) -> bool:
        while True:
            with self._gate:
                lease, free = self._try_lease(choice.identity)
                try:
                    choice = choose()
                    if choice.file is not None:
                        return False
                    if free:
                        bring(Order(choice, ref, path, flight, lease), self._means)
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
                taken = self._leases.take(identity, instead_of=sight)
                if taken is not None:
                    taken.release()
                return
            flight.tell(sight.done, sight.total, waiting=True)
            if flight.stop.wait(_LOOK_S):
                raise Stopped
