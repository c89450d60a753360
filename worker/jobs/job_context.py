"""Context of one job: its identity, its limits and the places that are told about it; and the threads that jobs use."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from worker.common.cancellation import timeout
from worker.common.clock import running
from worker.common.interruption import Interruption
from worker.contract.rules.field_rules import is_reproducible
from worker.errors import DeadlineExceeded, InvalidInput
from worker.telemetry.progress import Progress, within

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from worker.contract.types.job import Job
    from worker.models.download.download_progress import FetchProgress
    from worker.storage.object_store import StoreTarget
    from worker.telemetry.phases import Phases
    from worker.telemetry.progress import PieceSink, ProgressSink

T = TypeVar("T")
CacheUse = Literal["use", "refresh", "off", "only"]
THREADS = 16


class JobThreads:
    """Threads for everything in a job that blocks: files, the volume, DNS, HTTP, pixels. One for the worker's life.

    Attributes:
        pool: The threads.
    """

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="job")

    async def run(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Return what blocking `work` returns."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, partial(work, *arguments, **named))

    @asynccontextmanager
    async def closing(self, holds: ExitStack) -> AsyncIterator[None]:
        """Close `holds` in a thread at the end of the block, also when the job is cancelled meanwhile."""
        try:
            yield
        finally:
            await asyncio.shield(self.run(holds.close))


@dataclass(frozen=True, slots=True)
class JobContext:
    """One job on its way.

    Attributes:
        id: The platform's.
        target: The store that the job brought along.
        deadline: On the monotonic clock.
        phases: The time spent in each phase.
        on_progress: Gets the job's progress.
        on_piece: Gets its pictures one by one; None: nobody listens.
        started: Its beginning, for the names of its pictures.
        holds: Holds on model files, given up when the job ends; to be closed in a thread.
        raw: The job as the platform handed it over.
        pictures: Pictures of this very job by the text that stands for them in it: a workflow's earlier stages'.
        cache: Whether its pictures may come from the result cache.
        max_images: Pictures that it may make, more where they go into a store; 0: as the endpoint's limit says.
        has_many: It makes so many pictures that each goes into the store as soon as it is made.
        worker: What answers tell about the worker.
        interruption: Wishes of the client to have it end early, with what has been made.
        tile_sizes: What the GPU's memory turned out to hold: side of a tile → its side and how many at once.
    """

    id: str
    target: StoreTarget | None
    deadline: float
    phases: Phases
    on_progress: ProgressSink
    on_piece: PieceSink | None = None
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    holds: ExitStack = field(default_factory=ExitStack)
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)
    pictures: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    cache: CacheUse = "use"
    max_images: int = 0
    has_many: bool = False
    worker: Mapping[str, Any] = field(default_factory=dict, repr=False)
    interruption: Interruption = field(default_factory=Interruption, repr=False)
    tile_sizes: dict[int, tuple[int, int]] = field(default_factory=dict, repr=False)

    def part(self, number: int, counts: Sequence[int]) -> JobContext:
        """Return the context of one of several requests of the job, which make `counts` pictures."""
        return self if len(counts) == 1 else replace(self, on_progress=within(self.on_progress, number, counts))

    async def before_deadline(self, work: Awaitable[T], what: str = "its models were there") -> T:
        """Return what `work` returns.

        Args:
            work: Cancelled at the deadline.
            what: The end of the sentence that says what the time was too short for.

        Raises:
            DeadlineExceeded: the job's time was over first; `work` was cancelled.
        """
        try:
            async with timeout(max(0.0, self.deadline - running())):
                return await work
        except asyncio.TimeoutError:
            raise DeadlineExceeded(f"the job's time was over before {what}") from None


def cache_use(job: Job) -> CacheUse:
    """Return whether the pictures of `job` may come from the result cache: never those that chance has a part in.

    Raises:
        InvalidInput: they may come from nowhere else.
    """
    if is_reproducible(job):
        return job.cache or "use"
    if job.cache == "only":
        raise InvalidInput.at(job.path("cache"), "only needs a fixed seed: a random one makes pictures nobody has made")
    return "off"


def download_progress(sink: ProgressSink) -> Callable[[FetchProgress], None]:
    """Return a sink for downloads: they are the job's progress while it waits for them."""

    def tell(state: FetchProgress) -> None:
        share = state.done / state.total if state.total else 0.0
        what = "waiting for another worker to fetch" if state.waiting else "fetching"
        amount = (
            f"{state.done / 1e6:.0f} of {state.total / 1e6:.0f} MB" if state.total else f"{state.done / 1e6:.0f} MB"
        )
        message = f"{what} {state.name}: {amount}, {state.speed / 1e6:.1f} MB/s"
        sink(Progress(stage="prepare", percent=5 * share, eta_s=state.eta_s, message=message))

    return tell
