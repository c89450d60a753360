"""One generation: sent once, watched, interrupted where it has to be, and never left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from worker.common.cancellation import shielded
from worker.common.clock import running
from worker.common.interruption import Interruption
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
from worker.webui import previews
from worker.webui.execute import interrupt as interrupts
from worker.webui.execute.interrupt import interrupt_and_wait, wait_idle
from worker.webui.execute.stall import GpuWindow, StallDetector, StallLimits
from worker.webui.liveness import ANSWER_S, Heard, heard_of, progress
from worker.webui.process.process_stats import WorkMeter
from worker.webui.process.webui_process import describe_exit
from worker.webui.result import failures
from worker.webui.result import response as answers

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from worker.common.interruption import Wish
    from worker.webui.http import WebUIClient
    from worker.webui.process.launch_plan import LaunchPlan
    from worker.webui.process.webui_process import WebUIProcess
    from worker.webui.request.body import Request

OnState = Callable[[Mapping[str, Any]], None]
T = TypeVar("T")
PROGRESS_S = 0.5
SERVER_ERROR = 500
"""From this HTTP status on."""
LOG_LINES = 30
EXIT_SEEN_S = 1.5
"""For the end of a process to show after its connections broke."""
STILL_S = 35.0
"""Seconds in which a WebUI of ours neither answers nor works, after which it hangs, whatever it is at."""
DEAF_S = 10.0
"""Seconds without a sign of life after which a WebUI of ours is not told to stop before it is ended."""
_UNREADABLE = frozenset({"SafetensorError", "UnpicklingError", "EOFError", "BadZipFile", "FileNotFoundError"})
"""Exceptions of a model file that can't be read."""


class GenerationCall:
    """One request for pictures on its way.

    Args:
        request: What to ask for.
        plan: The WebUI's limits of time.
        client: Its API.
        process: Its process, where it is ours.
        pool: Threads for what blocks.
        abandon: Ends a WebUI that does not react, or the connections to it; blocking.
        loads: A model may have to be loaded first.
    """

    def __init__(
        self,
        request: Request,
        *,
        plan: LaunchPlan,
        client: WebUIClient,
        process: WebUIProcess | None,
        pool: Executor,
        abandon: Callable[[str], None],
        loads: bool = False,
    ) -> None:
        self._request = request
        self._plan = plan
        self._client = client
        self._process = process
        self._log = process.log if process is not None else None
        self._meter = WorkMeter(process.pid, clock=running) if process is not None else None
        self._pool = pool
        self._abandon = abandon
        self._loads = loads
        self._window = GpuWindow(lambda _: None, lambda: None)
        self._is_cut_short = False

    def read(self, line: str) -> None:
        """Take note of a line of the WebUI's log."""
        if self._log is not None:
            self._window.read(line, self._log.mark)

    async def run(
        self,
        *,
        timeout: float,
        on_state: OnState | None = None,
        on_gpu_free: Callable[[], None] = lambda: None,
        interruption: Interruption | None = None,
    ) -> answers.GenerationResponse:
        """Send the request once and return what came back.

        Args:
            timeout: Seconds until it is interrupted.
            on_state: Gets the WebUI's progress every half second, with previews less often.
            on_gpu_free: Called in the loop's thread when the WebUI only encodes and sends any more: another
                request may be sent. Not called where the log does not tell, nor for a request being interrupted.
            interruption: Wishes of the client to have it end early, with the pictures that are made by then.

        Raises:
            WebUICrashed, WebUIUnreachable, WebUIFailed, WebUIRejected, OutOfMemory, NanImage, WrongResult: as named.
            DeadlineExceeded: `timeout` has passed; the WebUI is idle again, or was abandoned.
            GenerationStalled: it made no progress; likewise.
            asyncio.CancelledError: likewise.
        """
        loop = asyncio.get_running_loop()
        mark = self._log.mark() if self._log is not None else 0
        end = running() + timeout
        detector = self._detector()

        def freed() -> None:  # in a later turn of the loop
            watching.cancel()  # from now on it would be told of the next request
            detector.left_the_gpu()
            on_gpu_free()

        self._window = GpuWindow.of_loop(loop, freed)
        sending = loop.run_in_executor(self._pool, self._post, mark)
        sending.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, also if left behind
        watching = asyncio.ensure_future(self._watch(detector, on_state))
        try:
            with (interruption or Interruption()).heard() as wishes:
                why = await self._wait(sending, detector, end, wishes)
        except asyncio.CancelledError:
            await self._interrupt(sending)
            raise
        finally:
            watching.cancel()
        if why is not None:
            deaf_after_s = ANSWER_S + PROGRESS_S if self._process is None else DEAF_S
            idle = await self._interrupt(sending, hears=detector.silent_for(running()) < deaf_after_s)
            why.details.update({"done": detector.done, "abandoned": not idle})
            raise why
        answer = answers.read(sending.result())
        log = await self._thread(self._lines, mark)
        await self._refuse_unfinished(log)
        return answers.GenerationResponse(answer, log, is_cut_short=self._is_cut_short)

    async def _refuse_unfinished(self, log: tuple[str, ...]) -> None:
        """Raise an error where an answer, though 200, was interrupted, short of memory, or failed by the log."""
        if not self._is_cut_short and (
            failures.was_interrupted(log) or (self._process is None and await self._thread(self._was_cut_short))
        ):
            raise WrongResult(
                "the generation was interrupted by something else than this job", details={"mismatches": []}
            )
        starved = failures.starved_loras(log)
        if starved:
            raise OutOfMemory(
                f"there was no memory for {len(starved)} layers of the job's LoRAs", details={"half_loaded": "lora"}
            )
        hidden = failures.verdict(log)
        if hidden is not None:
            raise hidden

    def _was_cut_short(self) -> bool:
        """Return whether a WebUI without a log of ours reports its last request as interrupted or skipped. Blocking."""
        try:
            return interrupts.was_cut_short(self._client)
        except WorkerError:  # the answer came whole, and the next request will see what is wrong
            return False

    @property
    def _silence_s(self) -> float:
        """Seconds without a sign of life after which the WebUI hangs."""
        return self._plan.silence_limit or min(STILL_S, self._plan.stall_timeout)

    def _detector(self) -> StallDetector:
        size = self._request.expect.size
        pixels = size.pixels if size is not None else 0
        limits = StallLimits(
            progress=self._plan.stall_timeout,
            load=self._plan.boot_timeout if self._loads else 0.0,
            silence=self._silence_s,
        )
        return StallDetector(
            began=running(),
            limits=limits,
            pixels=pixels * int(self._request.body.get("batch_size", 1)),
            switches_models=bool(self._request.body.get("refiner_checkpoint")),
        )

    async def _wait(
        self, sending: asyncio.Future[Any], detector: StallDetector, end: float, wishes: asyncio.Queue[Wish]
    ) -> WorkerError | None:
        """Return None when the request was answered, else why it has to be interrupted."""
        wished = asyncio.ensure_future(wishes.get())
        try:
            while not sending.done():
                now = running()
                if now >= end:
                    return DeadlineExceeded("the generation was not done at the job's deadline and was interrupted")
                stalled = detector.verdict(now)
                if stalled is not None:
                    return GenerationStalled(f"{stalled} and was interrupted")
                # Looked at again and again: with the first step the time for loading a model is no longer due.
                limit_s = max(0.001, min(end - now, detector.left(now), PROGRESS_S))
                await asyncio.wait({sending, wished}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
                if wished.done() and not sending.done():
                    await self._cut_short(wished.result(), sending)
                    wished = asyncio.ensure_future(wishes.get())
        finally:
            wished.cancel()
        return None

    async def _cut_short(self, wish: Wish, sending: asyncio.Future[Any]) -> None:
        """Have the WebUI end the request, or its batch, where it still works on it.

        Raises:
            GenerationStalled: it did not react, and was abandoned.
        """
        if not self._window.keep():  # kept, so that what is sent now can't hit the next request
            return  # its pictures are whole: they are only encoded
        if wish == "interrupt":
            self._is_cut_short = True
            if not await self._interrupt(sending):
                raise GenerationStalled("the WebUI did not react to an interrupt")
            return
        try:
            await self._thread(interrupts.skip, self._client)
            self._is_cut_short = True
        except WorkerError as error:  # the whole request is made, and judged as such
            get_logger("webui").warning("skip failed", error=error.message)

    async def _thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def _post(self, mark: int) -> Any:
        try:
            # No limit of its own: the detector and the deadline end it, which know when the worker was frozen.
            return self._client.post(self._request.path, self._request.body, timeout=None, watch=False)
        except WebUIUnreachable as error:
            if self._process is not None and self._process.wait(EXIT_SEEN_S):
                how = describe_exit(self._process.exit_code or 0)
                log = self._process.log.since(mark)[-LOG_LINES:]  # none of other jobs' lines
                raise WebUICrashed(f"the WebUI ended during the job ({how})", details={"log": log}) from error
            raise
        except WebUIFailed as error:
            raise self._meaning(error, mark) from error

    def _meaning(self, error: WebUIFailed, mark: int) -> WorkerError:
        """Return the error that an error answer amounts to, with what it has left half loaded."""
        meaning = failures.meaning(error)
        if int(error.details.get("status", 0)) < SERVER_ERROR:
            return meaning
        half: str | None = None
        said = str(error.details.get("upstream", ""))
        if self._process is not None:
            half = failures.half_loaded(self._lines(mark), said, switches=self._loads)
        elif meaning is error:
            half = failures.half_loaded_by_words(said, switches=self._loads)
        if meaning is error and (half == "model" or error.details.get("kind") in _UNREADABLE):
            meaning = self._unloadable(error)
        meaning.details.update({"half_loaded": half} if half else {})
        return meaning

    def _unloadable(self, error: WebUIFailed) -> WebUIFailed:
        """Return the error with the files among which the one is that could not be loaded."""
        expect = self._request.expect
        vae = [f"VAE {expect.vae}"] if expect.vae not in {None, "None", "Automatic"} else []
        others = [
            f"checkpoint {title}"
            for field in ("refiner_checkpoint", "hr_checkpoint_name")
            if (title := self._request.body.get(field))
        ]
        files = [f"checkpoint {expect.checkpoint.title} ({expect.checkpoint.filename})", *others, *vae]
        details = {**error.details, "files": files}
        return WebUIFailed(f"{error.message}; it was to load {', '.join(files)}", details=details)

    def _lines(self, mark: int) -> tuple[str, ...]:
        return tuple(self._log.since(mark, self._window.end)) if self._log is not None else ()

    async def _watch(self, detector: StallDetector, on_state: OnState | None) -> None:
        watched = previews.is_watched(self._request)
        every = self._plan.preview_every if watched else PROGRESS_S
        look = previews.look if watched else progress
        while True:
            await asyncio.sleep(every)
            try:
                state = await self._thread(look, self._client)
            except WorkerError as error:
                if heard_of(error) is Heard.ANSWERED:
                    detector.hear({}, running())
                elif self._meter is not None and await self._thread(self._meter.has_worked):
                    detector.is_working(running())
                continue
            detector.hear(state, running())
            if on_state is not None:
                on_state(state)

    async def _interrupt(self, sending: asyncio.Future[Any], *, hears: bool = True) -> bool:
        """Have the WebUI idle, else abandon it; return which. However often it is cancelled, it finishes first.

        One that has left the GPU is left alone: an interrupt, and the end of a WebUI that takes its time to encode,
        would hit the next request.

        Args:
            sending: The request.
            hears: The WebUI answers, so that it is worth telling it to stop.
        """
        if not self._window.keep():
            return True

        def interrupt() -> Heard:
            try:
                interrupts.interrupt(self._client)
            except WorkerError as error:
                get_logger("webui").warning("interrupt failed", error=error.message)
                return heard_of(error)
            return Heard.ANSWERED

        limit_s = self._plan.idle_timeout if hears else 0.0
        answered, again = await interrupt_and_wait(
            sending,
            interrupt=partial(self._thread, interrupt),
            limit_s=limit_s,
            silence_s=self._plan.silence_patience,
        )
        idle = await shielded(self._thread(self._is_idle, sending)) if answered else False
        if not idle:
            await shielded(self._thread(self._abandon, "it did not react to an interrupt"))
        if again:
            raise asyncio.CancelledError
        return idle

    def _is_idle(self, sending: asyncio.Future[Any]) -> bool:
        """Return whether the WebUI has nothing to do, now that the request has ended in some way. Blocking."""
        failure = sending.exception()
        if isinstance(failure, WebUIUnreachable) and self._window.end is None:
            return wait_idle(self._client, limit_s=self._plan.idle_timeout, silence_s=self._plan.silence_patience)
        return True
