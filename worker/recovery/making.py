"""From a request to pictures that are right, through whatever goes wrong on the way.

Generation holds the GPU's lock, and so does whatever has to be done to the WebUI after it failed; the check of the
answer runs outside. What is done is decided in `policy`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from worker.aio import shielded
from worker.clock import running
from worker.errors import DeadlineExceeded, OutOfMemory, WebUIUnreachable, WorkerError
from worker.queue import GpuQueue
from worker.recovery.experience import Experience
from worker.recovery.flights import Flights, Turn
from worker.recovery.policy import Action, Care, Tries, broke_the_process, decide, innocent, may_be_asked_again
from worker.recovery.recycling import Looks, Recycler
from worker.telemetry.logs import get_logger
from worker.webui.execute.generate import EXIT_SEEN_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.recovery.keeper import Keeper
    from worker.settings import Settings
    from worker.telemetry.phases import Phases
    from worker.webui.backend import Backend
    from worker.webui.body import Request
    from worker.webui.execute.generate import GenerationResponse, OnState

T = TypeVar("T")
R = TypeVar("R")
RECYCLE_WAIT_S = 60.0
CHECKS = 8
"""Answers examined at once."""
SMALL = 65_536
"""Characters of pictures that are examined at once: a thread would take as long to begin."""


@dataclass(frozen=True, slots=True)
class Order(Generic[T]):
    """What is to be made.

    Attributes:
        request: Complete with its seed, so that a second run makes the same pictures.
        examine: Turns an answer into what the caller wants, or raises what is wrong with it; blocking. It gets the
            request as it was sent in the end: batches and options may differ.
        on_state: Returns the sink for the WebUI's progress with a request.
        deadline: Monotonic seconds.
        phases: Where the time goes.
        mend: Called with the failure before the order is made again: the place to get a corrupt model anew.
    """

    request: Request
    examine: Callable[[Request, GenerationResponse], T]
    on_state: Callable[[Request], OnState]
    deadline: float
    phases: Phases
    mend: Callable[[WorkerError], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Right(Generic[T]):
    """What was made, and what the client should know about how."""

    result: T
    notes: tuple[str, ...] = ()


class _Decided(Exception):
    """Carries an error and what is done about it out of the lock."""

    def __init__(self, error: WorkerError, action: Action, *, cared: bool) -> None:
        super().__init__(error.message)
        self.error = error
        self.action = action
        self.cared = cared


class Maker:
    """See the module's docstring; one for the worker's life.

    Args:
        backend: The WebUI.
        keeper: The owner of its life.
        settings: The worker's.
        clock: Monotonic seconds.
    """

    def __init__(
        self, backend: Backend, keeper: Keeper, settings: Settings, *, clock: Callable[[], float] = running
    ) -> None:
        self._backend = backend
        self._keeper = keeper
        self._reruns = settings.reruns
        self._log_prompts = settings.log_prompts
        self._clock = clock
        self._gpu = GpuQueue(patience_s=settings.group_wait_s, clock=clock)
        self._flights = Flights(clock)
        self._pool = ThreadPoolExecutor(max_workers=CHECKS, thread_name_prefix="check")
        self._experience = Experience(settings.poison_s, clock)
        self._recycler = Recycler(lambda: backend.pid, settings.recycle_growth_bytes, kept=backend.plan.kept_models)
        self._looks = Looks(self._recycler, self._pool, self._recycle)
        self._log = get_logger("recovery")

    @property
    def memory(self) -> dict[str, int]:
        """What the WebUI holds, as measured after the last job."""
        return self._recycler.memory

    async def make(self, order: Order[T]) -> Right[T]:
        """Return what was ordered.

        Raises:
            WorkerError: what kept it from being made in the end.
            asyncio.CancelledError: the WebUI is idle again, or is being restarted.
        """
        request = self._experience.plan(order.request)
        tries = Tries(self._reruns)
        notes: list[str] = []
        while True:
            try:
                made = await self._generated(order, request, tries)
                with order.phases.phase("check"):
                    if made.answer.size <= SMALL:
                        result = order.examine(request, made)
                    else:
                        result = await self._thread(order.examine, request, made)
            except _Decided as decided:
                error, action, cared = decided.error, decided.action, decided.cared
            except WorkerError as wrong:
                error, action = wrong, decide(wrong, request, tries, order.deadline - self._clock())
                cared = action.care is not Care.RESTART or not self._keeper.may_restart()
            else:
                self._experience.made(order.request, request, tries)
                models = order.request.expect.models
                asyncio.get_running_loop().call_soon(self._looks.after_a_job, models)  # the answer need not wait for it
                return Right(result, tuple(dict.fromkeys(notes)))
            if not cared:
                with await self._turn(order, request):
                    await shielded(self._take_care(action, error))
            first = self._backend.began_with(request.expect.checkpoint)
            self._experience.failed(error, order.request, request, action, began_with=first)
            if action.again is None:
                raise self._experience.told(error, request, tries)
            if order.mend is not None:
                await order.mend(error)
            self._log.warning(
                "running a job again", code=error.code, care=action.care.value, error=self._loggable(error)
            )
            tries, request = tries.after(error) if action.counts else tries, action.again
            if action.note:
                notes.append(action.note)

    async def steady(self, work: Callable[[], Awaitable[T]], deadline: float) -> T:
        """Return what `work` returns, begun again once if the WebUI ends meanwhile. For what does not need the GPU.

        Raises:
            WorkerError: as `work` does, or because the WebUI does not come back in time.
        """
        await self._keeper.wait_up(deadline)
        try:
            return await work()
        except WebUIUnreachable:
            await self._thread(self._backend.ends, EXIT_SEEN_S)
            how = self._backend.ended()
            if how is not None:  # seen here before whoever has killed it could tell
                self._keeper.lost(f"it ended ({how})")
            await self._keeper.wait_up(deadline)
            return await work()

    async def errand(self, work: Callable[[], Awaitable[T]], deadline: float, phases: Phases) -> T:
        """Return what `work` gets from the WebUI, alone on the GPU; asked once more where that may help.

        Raises:
            WorkerError: as `work` does; the WebUI is fit for the next request, or being restarted.
        """
        for left in (self._reruns > 0, False):
            with phases.phase("queue"):
                turn = await self.take_gpu(deadline)
            with turn, phases.phase("generate"), self._flights.flight() as flight:
                try:
                    result = await work()
                    turn.release()
                    await flight.cleared(deadline)
                except WorkerError as error:
                    if broke_the_process(error) and not flight.condemned:
                        flight.condemn()
                        await shielded(self._thread(self._backend.abandon, self._loggable(error)))
                    elif isinstance(error, OutOfMemory):
                        await shielded(self._take_care(Action(None, Care.FREE), error))
                    if not left or not may_be_asked_again(error) or self._clock() >= deadline:
                        raise
                    self._log.warning("asking again", code=error.code, error=self._loggable(error))
                else:
                    return result
        raise AssertionError("the second failure is raised")

    async def _generated(self, order: Order[T], request: Request, tries: Tries) -> GenerationResponse:
        """Return the WebUI's answer; after a failure the WebUI is fit for the next request, or being restarted."""
        with await self._turn(order, request) as turn:
            left = order.deadline - self._clock()
            if left <= 0:
                raise DeadlineExceeded("the job's time was over before the GPU was free")
            with order.phases.phase("generate"), self._flights.flight() as flight:
                try:
                    made = await self._backend.generate(
                        request, timeout=left, on_state=order.on_state(request), on_gpu_free=turn.release
                    )
                    turn.release()
                    await flight.cleared(order.deadline)
                except WorkerError as error:
                    action = decide(error, request, tries, order.deadline - self._clock())
                    if flight.condemned:
                        action = innocent(request, left_s=order.deadline - self._clock())
                    elif action.care is Care.RESTART:
                        flight.condemn()
                        await shielded(self._take_care(action, error))
                    elif turn.held:
                        await shielded(self._take_care(action, error))
                    raise _Decided(error, action, cared=turn.held or action.care is not Care.FREE) from error
        return made

    @property
    def gpu(self) -> GpuQueue:
        """The queue for the GPU."""
        return self._gpu

    async def take_gpu(self, deadline: float, model: str | None = None) -> Turn:
        """Wait for the GPU, with a WebUI that works; the turn is left or released by the caller.

        Raises:
            DeadlineExceeded: monotonic second `deadline` came first.
            WebUICrashed: the WebUI will not come back.
        """
        held = await self._gpu.take(self._gpu.loaded if model is None else model, deadline=deadline)
        self._keeper.begun()
        turn = Turn(held, self._keeper.ended)
        try:
            await self._keeper.wait_up(deadline)
        except BaseException:  # a cancel too
            turn.release()
            raise
        return turn

    async def _turn(self, order: Order[T], request: Request) -> Turn:
        """Wait for the GPU as `take_gpu` does."""
        with order.phases.phase("queue"):
            return await self.take_gpu(order.deadline, request.expect.checkpoint.name)

    async def _take_care(self, action: Action, error: WorkerError) -> None:
        """Do to the WebUI what it needs; where that takes a restart, begin it."""
        if action.care is Care.CALM:
            await self._backend.calm()
        elif action.care is Care.FREE:
            try:
                await self._backend.free()
            except WorkerError as failure:
                await self._thread(self._backend.abandon, f"its caches could not be freed: {failure.message}")
        elif action.care is Care.RESTART:
            await self._thread(self._backend.abandon, self._loggable(error))

    async def _recycle(self, why: str) -> None:
        """Restart the WebUI between two jobs since its memory creeps up, where the budget allows it."""
        if not self._keeper.may_restart():
            return
        try:
            turn = await self.take_gpu(self._clock() + RECYCLE_WAIT_S)
        except WorkerError:
            return  # the GPU is busy for long, or the WebUI is gone: there will be a better moment
        with turn:
            await shielded(self._thread(self._backend.abandon, why))

    def _loggable(self, error: WorkerError) -> str:
        return error.message if self._log_prompts else error.code

    async def _thread(self, work: Callable[..., R], *arguments: object) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
