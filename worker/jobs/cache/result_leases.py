"""Leases of results: which of the workers on a volume makes what several of them want at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from worker.common.cancellation import of_others_too
from worker.models.volume.leases import LeaseTable

if TYPE_CHECKING:
    from concurrent.futures import Future
    from pathlib import Path

    from worker.jobs.job_context import JobThreads
    from worker.models.volume.leases import Lease


class ResultLeases:
    """The leases in one folder.

    Args:
        folder: On the volume.
        threads: For everything that blocks.
        live_s: The lease of a worker that has shown no sign of life for so long is free.
    """

    def __init__(self, folder: Path, threads: JobThreads, *, live_s: float) -> None:
        self._table = LeaseTable(folder, live_s=live_s)
        self._threads = threads

    async def take(self, key: str) -> Lease | None:
        """Take the lease of a result; None while another worker has it.

        Raises:
            OSError: leases can't be written here.
            asyncio.CancelledError: nothing is held.
        """
        taking = self._threads.pool.submit(self._table.take, key)
        try:
            return await of_others_too(asyncio.wrap_future(taking))
        except asyncio.CancelledError:
            taking.add_done_callback(_give_up)
            raise


def _give_up(taking: Future[Lease | None]) -> None:
    """Release what was taken for somebody who has gone."""
    if taking.cancelled() or taking.exception() is not None:
        return
    lease = taking.result()
    if lease is not None:
        lease.release()
