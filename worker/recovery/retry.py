"""Retries of a generation until its pictures are right or nothing helps; the way to the GPU for everything else.

A generation holds the GPU, and so does every remedy for the WebUI after it failed; the answer is verified without it.
The decisions are `retry_policy`'s.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from worker.common.cancellation import shielded
from worker.common.clock import running
from worker.errors import DeadlineExceeded, WebUIUnreachable, WorkerError
from worker.gpu_queue import GpuQueue
from worker.recovery.failure_history import FailureHistory, fingerprint
from worker.recovery.failure_kinds import Failure, FailureKind, classify
from worker.recovery.memory_limit import MemoryMonitor
from worker.recovery.overlap import RequestsInFlight
from worker.recovery.retry_policy import Decision, Remedy, Tries, decide, may_be_asked_again, retry_bystander
from worker.telemetry.logs import get_logger
from worker.webui.execute.generate import EXIT_SEEN_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from worker.common.interruption import Interruption
    from worker.gpu_queue import Turn
    from worker.recovery.failure_history import Fingerprint
    from worker.recovery.overlap import InFlight
    from worker.recovery.supervisor import Supervisor
    from worker.settings import Settings
    from worker.telemetry.phases import Phases
    from worker.webui.backend import Backend
    from worker.webui.execute.generate import OnState
    from worker.webui.request.body import Request
    from worker.webui.result.response import GenerationResponse

T = TypeVar("T")
RECYCLE_WAIT_S = 60.0
THREADS = 4


class Executor:
    """Runs what needs the WebUI, and keeps it fit for the next request; one for the worker's life.

    Args:
        backend: The WebUI.
        supervisor: Of its process.
        settings: The worker's.
        clock: Monotonic seconds.

    Attributes:
        gpu: The queue for the GPU.
        in_flight: Requests that have been sent and not been answered.
        history: Earlier failures.
    """

    def __init__(
        self,
        backend: Backend,
        supervisor: Supervisor,
        settings: Settings,
        *,
        clock: Callable[[], float] = running,
    ) -> None:
        self.backend = backend
        self.supervisor = supervisor
        self.clock = clock
        self.reruns = settings.reruns
        self.gpu = GpuQueue(patience_s=settings.group_wait_s, clock=clock)
        self.in_flight = RequestsInFlight(clock)
        self.history = FailureHistory(settings.poison_s, clock)
        self._log_prompts = settings.log_prompts
        self._pool = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="recovery")
        self._monitor = MemoryMonitor(lambda: backend.pid, settings.recycle_memory_share)
        self._monitoring: set[asyncio.Task[None]] = set()
        self.log = get_logger("recovery")

    @property
    def memory(self) -> dict[str, int]:
        """The WebUI's memory as measured after the last job, ``{ram_bytes, vram_bytes}``, unknown figures left out."""
        return self._monitor.memory

    async def attempts(self, request: Request, *, deadline: float, phases: Phases) -> Attempts:
        """Return the attempts at `request`, which is complete with its seed: each makes the same pictures.

        Raises:
            WebUICrashed: a request like it has crashed the WebUI twice.
        """
        mark = await self.thread(fingerprint, request)
        return Attempts(self, self.history.plan(request, mark), mark, deadline, phases)

    async def call(self, work: Callable[[], Awaitable[T]], deadline: float, phases: Phases) -> T:
        """Return what `work` gets from the WebUI, alone on the GPU; asked once more where that may help.

        Raises:
            WorkerError: as `work` does; the WebUI is fit for the next request, or being restarted.
        """
        is_last = self.reruns == 0
        while True:
            with phases.phase("queue"):
                turn = await self.take_gpu(deadline)
            with turn, phases.phase("generate"), self.in_flight.begin() as flight:
                try:
                    result = await work()
                    turn.release()
                    await flight.confirmed(deadline)
                except WorkerError as error:
                    failure = classify(error)
                    if failure.breaks_process and not flight.invalidated:
                        flight.invalidate_others()
                        await shielded(self.apply(Remedy.RESTART, failure))
                    elif failure.kind is FailureKind.OUT_OF_MEMORY:
                        await shielded(self.apply(Remedy.UNLOAD, failure))
                    if is_last or not may_be_asked_again(failure) or self.clock() >= deadline:
                        raise
                    self.log.warning("asking again", code=error.code, error=self.loggable(error))
                    is_last = True
                else:
                    return result

    async def outlast_restart(self, work: Callable[[], Awaitable[T]], deadline: float) -> T:
        """Return what `work` returns, begun again once if the WebUI ends meanwhile. For work without the GPU.

        Raises:
            WorkerError: as `work` does, or because the WebUI does not come back in time.
        """
        await self.supervisor.wait_up(deadline)
        try:
            return await work()
        except WebUIUnreachable:
            await self.thread(self.backend.ends, EXIT_SEEN_S)
            how = self.backend.ended()
            if how is not None:  # seen here before the process's own watcher could report it
                self.supervisor.lost(f"it ended ({how})")
            await self.supervisor.wait_up(deadline)
            return await work()

    async def take_gpu(self, deadline: float, model: str | None = None) -> Turn:
        """Wait for the GPU, with a WebUI that works; the turn is left or released by the caller.

        Raises:
            DeadlineExceeded: monotonic second `deadline` came first.
            WebUICrashed: the WebUI will not come back.
        """
        turn = await self.gpu.take(self.gpu.loaded if model is None else model, deadline=deadline)
        self.supervisor.begun()
        turn.before_release(self.supervisor.ended)
        try:
            await self.supervisor.wait_up(deadline)
        except BaseException:  # a cancel too
            turn.release()
            raise
        return turn

    async def apply(self, remedy: Remedy, failure: Failure) -> None:
        """Give the WebUI its remedy; a restart is begun, not waited for. The GPU is held."""
        if remedy is Remedy.INTERRUPT:
            await self.backend.interrupt()
        elif remedy is Remedy.UNLOAD:
            try:
                await self.backend.unload_model()
            except WorkerError as error:
                await self.thread(self.backend.abandon, f"its caches could not be freed: {error.message}")
        elif remedy is Remedy.RESTART:
            if failure.recurs:
                self.supervisor.excuse_restart()
            await self.thread(self.backend.abandon, self.loggable(failure.error))

    def monitor_memory(self) -> None:
        """Measure the WebUI's memory beside the next job, and restart it between two where it has too much."""
        task = asyncio.ensure_future(self._monitor_memory())
        self._monitoring.add(task)
        task.add_done_callback(self._monitoring.discard)

    async def thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Run blocking work in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def loggable(self, error: WorkerError) -> str:
        """Return the words for an error in the log: its message may quote a prompt."""
        return error.message if self._log_prompts else error.code

    async def _monitor_memory(self) -> None:
        why = await self.thread(self._monitor.after_job)
        if why is None or not self.supervisor.may_restart():
            return
        try:
            turn = await self.take_gpu(self.clock() + RECYCLE_WAIT_S)
        except WorkerError:
            return  # the GPU is busy for long, or the WebUI is gone: there will be a better moment
        with turn:
            await shielded(self.thread(self.backend.abandon, why))


class _Treated(NamedTuple):
    """A failure on the GPU with the decision on it, and whether its remedy has been applied."""

    failure: Failure
    decision: Decision
    applied: bool


class Attempts:
    """The attempts at one request.

    The caller generates and verifies, hands every error to `recover`, which raises it where nothing helps, and tries
    again with `request`, which may have changed.

    Attributes:
        request: As it is sent now.
        notes: Sentences for the client on how the pictures came about.
    """

    def __init__(
        self, executor: Executor, request: Request, mark: Fingerprint, deadline: float, phases: Phases
    ) -> None:
        self.request = request
        self.notes: list[str] = []
        self._executor = executor
        self._mark = mark
        self._deadline = deadline
        self._phases = phases
        self._tries = Tries(executor.reruns)
        self._treated: _Treated | None = None

    async def generate(self, on_state: OnState, interruption: Interruption | None = None) -> GenerationResponse:
        """Send the request once it has the GPU and return the WebUI's answer.

        Args:
            on_state: Gets the WebUI's progress.
            interruption: Wishes of the client to have it end early.

        Raises:
            WorkerError: see `Backend.generate`; the WebUI is fit for the next request, or being restarted.
            asyncio.CancelledError: likewise.
        """
        with await self._turn() as turn:
            left = self._left()
            if left <= 0:
                raise DeadlineExceeded("the job's time was over before the GPU was free")
            with self._phases.phase("generate"), self._executor.in_flight.begin() as flight:
                try:
                    made = await self._executor.backend.generate(
                        self.request,
                        timeout=left,
                        on_state=on_state,
                        on_gpu_free=turn.release,
                        interruption=interruption,
                    )
                    turn.release()
                    await flight.confirmed(self._deadline)
                except WorkerError as error:
                    self._treated = await self._treat(classify(error), flight, turn)
                    raise
        return made

    async def recover(self, error: WorkerError) -> Failure:
        """Return the failure that `error` is after preparing another attempt.

        Raises:
            WorkerError: `error`, where another attempt would not help or there is no time for one.
        """
        treated, self._treated = self._treated, None
        if treated is None or treated.failure.error is not error:
            treated = self._examined(classify(error))
        failure, decision, applied = treated
        if not applied:
            with await self._turn():
                await shielded(self._executor.apply(decision.remedy, failure))
        executor = self._executor
        started_with = executor.backend.started_with(self.request.expect.checkpoint)
        executor.history.failed(failure, self._mark, self.request, decision, started_with=started_with)
        if decision.again is None:
            raise executor.history.final_error(failure, self.request, self._tries)
        executor.log.warning(
            "running a job again", code=error.code, remedy=decision.remedy.value, error=executor.loggable(error)
        )
        if decision.counts:
            self._tries = self._tries.after(failure)
        self.request = decision.again
        if decision.note and decision.note not in self.notes:
            self.notes.append(decision.note)
        return failure

    def succeeded(self) -> None:
        """Record that the pictures are right."""
        self._executor.history.succeeded(self._mark, self.request, self._tries)
        self._executor.monitor_memory()

    async def _treat(self, failure: Failure, flight: InFlight, turn: Turn) -> _Treated:
        """Decide on a failure while the request is in flight, and apply the remedy while it holds the GPU."""
        decision = decide(failure, self.request, self._tries, self._left())
        if flight.invalidated:
            decision = retry_bystander(self.request, self._left())
        elif decision.remedy is Remedy.RESTART:
            flight.invalidate_others()
            await shielded(self._executor.apply(decision.remedy, failure))
        elif turn.held:
            await shielded(self._executor.apply(decision.remedy, failure))
        # Without the GPU an interrupt would hit the next job, so it is left out; an unloading is made up for later.
        return _Treated(failure, decision, applied=turn.held or decision.remedy is not Remedy.UNLOAD)

    def _examined(self, failure: Failure) -> _Treated:
        """Decide on a failure that was found in the answer; a restart for it is wished for rather than needed."""
        decision = decide(failure, self.request, self._tries, self._left())
        skip = decision.remedy is not Remedy.RESTART or not self._executor.supervisor.may_restart()
        return _Treated(failure, decision, applied=skip)

    def _left(self) -> float:
        return self._deadline - self._executor.clock()

    async def _turn(self) -> Turn:
        with self._phases.phase("queue"):
            return await self._executor.take_gpu(self._deadline, self.request.expect.checkpoint.name)
