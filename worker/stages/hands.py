"""What every stage of a job may use: threads for what blocks, its deadline, and the GPU for an errand."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from worker.clock import running
from worker.errors import DeadlineExceeded
from worker.stages.within import within

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from worker.recovery.keeper import Keeper
    from worker.recovery.making import Maker
    from worker.telemetry.phases import Phases

T = TypeVar("T")
THREADS = 16


class Hands:
    """One for the worker's life.

    Args:
        maker: Has the GPU.
        keeper: The owner of the WebUI's life.

    Attributes:
        pool: Threads for what blocks.
    """

    def __init__(self, maker: Maker, keeper: Keeper) -> None:
        self._maker = maker
        self._keeper = keeper
        self.pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="service")

    async def thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run what blocks."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *arguments)

    async def before(self, deadline: float, work: Awaitable[T]) -> T:
        """Wait for `work` until monotonic second `deadline`; raises DeadlineExceeded."""
        try:
            return await within(deadline - running(), work)
        except asyncio.TimeoutError:
            raise DeadlineExceeded("the job's time was over before its models were there") from None

    async def errand(self, work: Callable[[], Awaitable[T]], deadline: float, phases: Phases) -> T:
        """Return what `work` gets from the WebUI, alone on the GPU; see `Maker.errand`."""
        return await self._maker.errand(work, deadline, phases)

    def health(self) -> Mapping[str, Any]:
        """Return the worker's state and what became of its WebUI; see `Keeper.health`."""
        return self._keeper.health()
