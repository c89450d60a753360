"""One request for pictures on its way: watched, interrupted where it has to be, and never left behind."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from worker.aio import shielded
from worker.errors import (
    DeadlineExceeded,
    GenerationStalled,
    OutOfMemory,
    WebUICrashed,
    WebUIFailed,
    WebUIUnreachable,
    WorkerError,
    WrongResult,
)
from worker.telemetry.logs import get_logger
from worker.webui import answer as answers
from worker.webui import calm, halves, live, swallowed
from worker.webui.arrival import Bell, arrival
from worker.webui.gpuspan import GpuSpan
from worker.webui.outcome import Findings
from worker.webui.process import describe_exit
from worker.webui.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from concurrent.futures import Executor

    from worker.webui.body import Request
    from worker.webui.client import WebUIClient
    from worker.webui.plan import Plan
    from worker.webui.process import WebUIProcess
    from worker.webui.replies import Begun

OnState = Callable[[Mapping[str, Any]], None]
T = TypeVar("T")
NOTHING_FOUND = Findings()
PROGRESS_S = 0.5
FAILED = 500
"""From this HTTP status on."""
LOG_LINES = 30
EXIT_SEEN_S = 1.5
"""For the end of a process to show after its connections broke."""


@dataclass(frozen=True, slots=True)
class Made:
    """An answer, what the WebUI's log said meanwhile, and what tiny pictures showed where there is no log."""

    answer: answers.Answer
    log: tuple[str, ...]
    found: Findings = NOTHING_FOUND


class Sending:
    """See the module's docstring.

    Args:
        request: What to ask for.
        plan: The WebUI's limits of time.
        client: Its API.
        process: Its process, where it is ours.
        pool: Threads for what blocks.
        abandon: Kills a WebUI that does not react; blocking.
    """

    def __init__(
        self,
        request: Request,
        *,
        plan: Plan,
        client: WebUIClient,
        process: WebUIProcess | None,
        pool: Executor,
        abandon: Callable[[str], None],
    ) -> None:
        self._request = request
        self._plan = plan
        self._client = client
        self._process = process
        self._pool = pool
        self._abandon = abandon
        self._span = GpuSpan(lambda _: None, lambda: None)
        self._loads = False
        self._bell = Bell()

    def read(self, line: str) -> None:
        """Take note of a line of the WebUI's log."""
        if self._process is not None:
            self._span.read(line, self._process.log.mark)

    async def run(
        self,
        *,
        timeout: float,
        on_state: OnState | None = None,
        on_gpu_free: Callable[[], None] = lambda: None,
        loads: bool = False,
    ) -> Made:
        """Send the request once and return what came back.

        Args:
            timeout: Seconds until it is interrupted.
            on_state: Gets the WebUI's progress every half second, with previews less often.
            on_gpu_free: Called in the loop's thread when the WebUI only encodes and sends any more: another
                request may be sent. Not called where the log does not tell, nor for a request being interrupted.
            loads: A model may have to be loaded first.

        Raises:
            WebUICrashed, WebUIUnreachable, WebUIFailed, WebUIRejected, OutOfMemory, NanImage, WrongResult: as named.
            DeadlineExceeded: `timeout` has passed; the WebUI is idle again, or was abandoned.
            GenerationStalled: it made no progress; likewise.
            asyncio.CancelledError: likewise.
        """
        loop = asyncio.get_running_loop()
        mark = self._process.log.mark() if self._process is not None else 0
        self._loads = loads
        end = time.monotonic() + timeout

        def freed() -> None:  # in a later turn of the loop
            watching.cancel()  # from now on it would be told of the next request
            pulse.left_the_gpu()
            on_gpu_free()

        self._span = GpuSpan(loop.call_soon_threadsafe, freed)
        begun = self._client.begin(self._request.path, self._request.body)  # what follows is done beside its work
        pulse = self._pulse(loads=loads)
        watched = live.is_watched(self._request)
        every = self._plan.preview_every if watched else PROGRESS_S
        watching = _Watch(time.monotonic() + every, lambda: self._watch(pulse, on_state, every, watched=watched))
        patience_s = timeout + self._plan.idle_timeout
        finish = partial(self._post, mark, patience_s, begun)
        sending = arrival(
            self._client, begun, finish=finish, pool=self._pool, patience_s=patience_s, on_end=self._bell.ring
        )
        sending.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, also if left behind
        try:
            why = await self._wait(sending, pulse, end, watching)
        except asyncio.CancelledError:
            await self._calm(sending)
            raise
        finally:
            watching.cancel()
        if why is not None:
            idle = await self._calm(sending)
            why.details.update({"done": pulse.done, "abandoned": not idle})
            raise why
        told = answers.read(sending.result())
        # Where the span has ended, what it logged has been read, and there is nothing to wait for.
        ended = self._span.end is not None
        lines = self._lines(mark) if ended else await self._thread(self._lines, mark)
        if halves.was_interrupted(lines) or (self._process is None and await self._thread(self._was_cut_short)):
            raise WrongResult(
                "the generation was interrupted by something else than this job", details={"mismatches": []}
            )
        starved = halves.starved_loras(lines)
        if starved:
            raise OutOfMemory(
                f"there was no memory for {len(starved)} layers of the job's LoRAs", details={"half_loaded": "lora"}
            )
        hidden = swallowed.verdict(lines)
        if hidden is not None:
            raise hidden
        return Made(told, lines)

    def _was_cut_short(self) -> bool:
        """Whether a WebUI without a log of ours says that its last request was interrupted or skipped. Blocking."""
        try:
            return calm.was_cut_short(self._client)
        except WorkerError:  # the answer came whole, and the next request will see what is wrong
            return False

    def _pulse(self, *, loads: bool) -> Pulse:
        size = self._request.expect.size
        pixels = size.pixels if size is not None else 0
        return Pulse(
            began=time.monotonic(),
            limit_s=self._plan.stall_timeout,
            pixels=pixels * int(self._request.body.get("batch_size", 1)),
            load_s=self._plan.boot_timeout if loads else 0.0,
        )

    async def _wait(
        self, sending: asyncio.Future[Any], pulse: Pulse, end: float, watching: _Watch
    ) -> WorkerError | None:
        """Return None when the request was answered, else why it has to be interrupted."""
        while not sending.done():
            now = time.monotonic()
            watching.begin(now)
            if now >= end:
                return DeadlineExceeded("the generation was not done at the job's deadline and was interrupted")
            if pulse.left(now) <= 0:
                return GenerationStalled(f"the WebUI made no progress for {pulse.limit:.0f} s and was interrupted")
            # Looked at again and again: with the first step the time for loading a model is no longer due.
            await self._bell.wait(max(0.001, min(end - now, pulse.left(now), PROGRESS_S)))
        return None

    async def _thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def _post(self, mark: int, timeout: float, begun: Begun | None) -> Any:
        try:
            return self._client.post(self._request.path, self._request.body, timeout=timeout, begun=begun)
        except WebUIUnreachable as error:
            if self._process is not None and self._process.wait(EXIT_SEEN_S):
                how = describe_exit(self._process.exit_code or 0)
                log = self._process.log.since(mark)[-LOG_LINES:]  # none of other jobs' lines
                raise WebUICrashed(f"the WebUI ended during the job ({how})", details={"log": log}) from error
            raise
        except WebUIFailed as error:
            meaning = answers.meaning(error)
            if self._process is not None and int(error.details.get("status", 0)) >= FAILED:
                said = str(error.details.get("upstream", ""))
                half = halves.half_loaded(self._lines(mark), said, switches=self._loads)
                meaning.details.update({"half_loaded": half} if half else {})
            raise meaning from error

    def _lines(self, mark: int) -> tuple[str, ...]:
        return tuple(self._process.log.since(mark, self._span.end)) if self._process is not None else ()

    async def _watch(self, pulse: Pulse, on_state: OnState | None, every: float, *, watched: bool) -> None:
        while True:
            try:
                state = await self._thread(partial(live.progress, self._client, watched=watched))
            except WorkerError:
                state = None
            if state is not None:
                pulse.hear(state, time.monotonic())
                if on_state is not None:
                    on_state(state)
            await asyncio.sleep(every)

    async def _calm(self, sending: asyncio.Future[Any]) -> bool:
        """Have the WebUI idle, else abandon it; return which. However often it is cancelled, it finishes first."""

        def interrupt() -> None:
            try:
                calm.interrupt(self._client)
            except WorkerError as error:
                get_logger("webui").warning("interrupt failed", error=error.message)

        answered, again = await calm.see_out(
            sending, self._span, interrupt=partial(self._thread, interrupt), limit_s=self._plan.idle_timeout
        )
        idle = await shielded(self._thread(self._is_idle, sending)) if answered else False
        if not idle:
            await shielded(self._thread(self._abandon, "it did not react to an interrupt"))
        if again:
            raise asyncio.CancelledError
        return idle

    def _is_idle(self, sending: asyncio.Future[Any]) -> bool:
        """Whether the WebUI has nothing to do, now that the request has ended in some way. Blocking."""
        failure = sending.exception()
        if isinstance(failure, WebUIUnreachable) and self._span.end is None:
            return calm.settle(self._client, time.monotonic() + self._plan.idle_timeout)
        return True


class _Watch:
    """A coroutine that runs as a task from monotonic second `due` on: most jobs are over by then."""

    def __init__(self, due: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._due = due
        self._work = work
        self._task: asyncio.Task[None] | None = None
        self._over = False

    def begin(self, now: float) -> None:
        """Begin it if it is due, unless it was begun or cancelled before."""
        if now >= self._due and self._task is None and not self._over:
            self._task = asyncio.ensure_future(self._work())

    def cancel(self) -> None:
        """End it, or see that it does not begin."""
        self._over = True
        if self._task is not None:
            self._task.cancel()
