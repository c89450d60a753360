"""RunPod's job queue through its SDK. The only module that imports runpod (1.12).

The SDK's loop is kept; `_Scaler` changes what it does at its edges, each for a reason that was measured:

- A full queue makes the SDK sleep for a second before it takes the next job. Here it is told of more places than there
  are, and the take itself waits for a free one: the next job is asked for the moment the last one is posted.
- The SDK looks for taken jobs ten times a second. Here a job starts when it arrives.
- After SIGTERM the SDK waits for its open long polls (up to 90 s), takes what they bring and forgets it. Here the take
  is closed after half a second, what is on its way by then is run, and cancels are heard until the last job is done.
- Its ping process outlives a worker that is killed, still naming the dead job. Here it ends with its parent.
- The SDK copies a result four times on its way out, the loop standing still. Here it is encoded once and
  sent in pieces.
- The SDK streams for generators alone, whose every answer is a list. Here a job that wants it streams its pictures.
- The SDK gives a result up when the connection breaks, and soon when the server fails. Here it is posted for a minute.
- An endpoint that refuses or answers at once makes it ask thousands of times a second. Here it pauses.
- Its import spends most of its time on the processor's name, for which it starts Python anew. Its debugger alone
  tells it; here it stays unknown.

What can't be changed from here: a job that the platform hands out in the moment that connection closes is its own to
hand out again, and a result that the platform refuses (4xx) is lost to it.
``refresh_worker`` is never set: it stops the pod while another job may still be uploading. A worker that is of no more
use finishes what it has and exits with a failure instead.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from functools import partial
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

import aiohttp
import cpuinfo
from aiohttp.payload import BytesIOPayload
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_chain, wait_fixed

from worker.common.cancellation import unless_set
from worker.common.strict_json import encode
from worker.serving.job_handler import JobHandler
from worker.telemetry.local_run import LocalRun
from worker.telemetry.logs import get_logger

cpuinfo.get_cpu_info = dict  # before the SDK asks, which it does while it is imported
import runpod.serverless  # noqa: E402 - as above
from runpod.serverless.modules import rp_http, rp_job, rp_logger, rp_ping, rp_scale  # noqa: E402 - as above

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from worker.serving.job_handler import WorkerProtocol
    from worker.settings import Settings

_sdk_transmit = rp_http._transmit  # noqa: SLF001 - see `_transmit`
_log = get_logger("runpod")

PAUSE_S = 0.1
"""Least time between two questions to an endpoint that has nothing to say."""
RETRY_S = 1.0
SERVER_FAILS, TOO_MANY = 500, 429
POST_AGAIN_S = (0.2, 1.0, 2.0, 4.0, 8.0, 16.0)
LAST_TAKE_S = 0.5
"""After SIGTERM: for a job that is already on its way."""
INTERRUPTED = 130
"""Exit code of a local run after Ctrl-C, as shells count it."""
BUSY_S = 5.0
GATE_S = 20.0
"""Longest wait for a free place within one take: the SDK gives a take 90 s, and most belong to the long poll."""


def serve(worker: WorkerProtocol, settings: Settings, local: LocalRun | None = None) -> int:
    """Take jobs in the way that command line and environment ask for, until the end; return the exit code.

    Production where RunPod's job environment is present, an HTTP server with ``--rp_serve_api``, else one job from
    ``--test_input`` or ``test_input.json``. Call it in the main thread, with the WebUI ready.

    Args:
        worker: Runs the jobs.
        settings: The worker's.
        local: Told of the one job of a local run; None: nobody is.
    """
    arguments, _ = runpod.serverless.parser.parse_known_args()
    serves_http = bool(arguments.rp_serve_api or os.environ.get("RUNPOD_REALTIME_PORT"))
    is_local = not serves_http and (bool(arguments.test_input) or not settings.in_production)
    if not {"RUNPOD_LOG_LEVEL", "RUNPOD_DEBUG_LEVEL"} & set(os.environ) and arguments.rp_log_level is None:
        wanted = "WARN" if settings.log_level == "warning" else settings.log_level.upper()
        if wanted == "DEBUG" and not settings.log_prompts:
            wanted = "INFO"  # its debug lines quote errors, and errors may quote prompts
        if is_local:
            wanted = "NOTSET"  # a local run's failure is told by us, once
        rp_logger.RunPodLogger().level = wanted

    handler, run = JobHandler(worker, settings), local or LocalRun()
    rp_http._transmit = _transmit  # noqa: SLF001 - the SDK has no other place for it
    rp_http.json = _Json
    rp_job.send_result = partial(_send_result, handler)
    rp_scale.JobScaler = _Scaler
    rp_ping.Heartbeat.process_loop = staticmethod(_ping_while_parent_lives)
    places = settings.concurrency
    if is_local:
        runpod.serverless.print = _unprinted  # its banner, on a terminal where three lines matter
    try:
        worker.on_death(handler.fail)
        runpod.serverless.start(
            {
                "handler": partial(handler.handle_locally, run=run) if is_local else handler.handle,
                "concurrency_modifier": lambda _current: 2 * places + 1,  # it counts a queued job twice
                "job_handler": handler,
            }
        )
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - the end of the process; the log has it, the exit code says it
        _log.exception("the SDK's loop broke")
        code = 1
    else:
        code = 0
    if is_local and code == 0 and not run.lines:
        return INTERRUPTED  # the SDK ends with success at Ctrl-C
    return 1 if handler.failure is not None else code


def _unprinted(*_: object) -> None:
    """Print nothing: stands in for `print` in the SDK's `start`, which prints its version and nothing else."""


class _Scaler(rp_scale.JobScaler):  # type: ignore[misc]  # the SDK ships no types
    """The SDK's loop with its edges mended; see the head of this module."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self._handler: JobHandler = config["job_handler"]
        self._places = self._handler.settings.concurrency
        self._held: set[str] = set()
        self._freed = asyncio.Event()
        self._open = asyncio.Event()
        self._stopping = asyncio.Event()
        self._closed = asyncio.Event()
        self._drained = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.jobs_fetcher = self._take
        self.stop_signals_fetcher = self._hear

    async def run(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._handler.failure is not None:
            self.kill_worker()
        with _signals_wake(self._loop):
            await super().run()

    def kill_worker(self) -> None:
        super().kill_worker()
        if self._loop is not None and not self._stopping.is_set():
            _log.info("stopping: what runs is finished, nothing more is taken", running=len(self._held))
            self._handler.worker.drain()
            self._loop.call_soon_threadsafe(self._stopping.set)  # wakes the loop, which a signal alone does not

    async def get_jobs(self, session: Any) -> None:
        async def post(job: Mapping[str, Any], body: dict[str, Any]) -> None:
            await rp_http.send_result(session, {"status": "IN_PROGRESS", "output": body}, job)

        async def post_piece(job: Mapping[str, Any], body: dict[str, Any]) -> None:
            await rp_http.stream_result(session, {"output": body}, job)

        self._handler.post, self._handler.post_piece = post, post_piece
        await self.set_scale()  # which replaces the queue; nobody waits at it yet
        self._open.set()
        try:
            await super().get_jobs(session)
        finally:
            self._closed.set()
            self._look_if_drained()

    async def run_jobs(self, session: Any) -> None:
        await self._open.wait()
        running: set[asyncio.Task[None]] = set()

        def ended(job: dict[str, Any], task: asyncio.Task[None]) -> None:
            running.discard(task)
            self._ended(job)

        while not (self._closed.is_set() and self.jobs_queue.empty()):
            job = await unless_set(self._closed, self.jobs_queue.get())
            if job is not None:
                task = asyncio.create_task(self.handle_job(session, job))
                self.jobs_tasks[job["id"]] = task
                running.add(task)
                task.add_done_callback(partial(ended, job))
        await asyncio.gather(*running, return_exceptions=True)

    async def monitor_stop_signals(self, session: Any) -> None:
        await unless_set(self._drained, super().monitor_stop_signals(session))

    async def handle_job(self, session: Any, job: dict[str, Any]) -> None:
        try:
            await super().handle_job(session, job)
        except Exception as error:  # noqa: BLE001 - the answer could not be posted; the other jobs go on
            _log.error("an answer was lost", job_id=job["id"], why=repr(error))

    def _ended(self, job: dict[str, Any]) -> None:
        """Give a job's place to the next one, also that of a job stopped before it had begun, which the SDK keeps."""
        if self.jobs_tasks.pop(job["id"], None) is not None:
            self.jobs_queue.task_done()
            self.job_progress.remove(job)
        self._handler.streamed.discard(job["id"])
        self._held.discard(job["id"])
        self._freed.set()
        self._look_if_drained()

    async def _take(self, session: Any, wanted: int) -> list[dict[str, Any]] | None:
        """Return the next jobs as soon as there are both a place and a job; None to be asked again."""
        if not await self._place_is_free():
            return None
        began = time.monotonic()
        try:
            asking = rp_scale.get_job(session, min(wanted, self._places - len(self._held)))
            jobs = await unless_set(
                self._stopping, asking, grace_s=lambda: 0.0 if self._handler.failure else LAST_TAKE_S
            )
        except rp_scale.TooManyRequests:
            await self._pause(BUSY_S)
            return None
        except Exception:
            await self._pause(RETRY_S)
            raise
        taken = []
        for job in jobs or ():
            job_id = job.get("id") if isinstance(job, dict) else None
            if isinstance(job_id, str) and job_id not in self._held:  # handed out twice, a job is run once
                self._held.add(job_id)
                taken.append(job)
        if not taken:
            await self._pause(PAUSE_S - (time.monotonic() - began))
        return taken

    async def _place_is_free(self) -> bool:
        """Wait for a free place; False when the wait got long or the worker is stopping."""
        deadline = time.monotonic() + GATE_S
        while len(self._held) >= self._places and time.monotonic() < deadline and not self._stopping.is_set():
            self._freed.clear()
            await unless_set(self._stopping, unless_set(self._freed, asyncio.sleep(deadline - time.monotonic())))
        return len(self._held) < self._places and not self._stopping.is_set()

    async def _hear(self, session: Any) -> list[str]:
        """Return the jobs to stop; once stopping, keep listening: the SDK would not."""
        while True:
            try:
                ids = list(await rp_scale.get_stop_signals(session))
            except Exception:
                if not self._stopping.is_set():
                    raise
                ids = []
            if not self._stopping.is_set():
                return ids
            for job_id in ids:
                await self.stop_job(job_id)
            await asyncio.sleep(PAUSE_S)

    async def _pause(self, seconds: float) -> None:
        await unless_set(self._stopping, asyncio.sleep(max(0.0, seconds)))

    def _look_if_drained(self) -> None:
        if self._closed.is_set() and not self._held:
            self._drained.set()


class _Json:
    """A stand-in for the ``json`` module that `rp_http` uses."""

    @staticmethod
    def dumps(value: object, *, ensure_ascii: bool = False) -> bytes:
        """Return `value` as it is posted."""
        del ensure_ascii
        return encode(value)


@contextmanager
def _signals_wake(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let a signal wake the loop also when it comes just before the loop goes to sleep.

    Python runs a signal's handler only after the sleep, which may be as long as a long poll.
    """
    ours, kernel_s = socket.socketpair()
    with ours, kernel_s:
        ours.settimeout(0)
        kernel_s.settimeout(0)
        loop.add_reader(ours, lambda: ours.recv(4096))
        before = signal.set_wakeup_fd(kernel_s.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(ours)


async def _send_result(
    handler: JobHandler, session: Any, result: dict[str, Any], job: Mapping[str, Any], *, is_stream: bool = False
) -> None:
    """Post an answer as the SDK does, marked as the end of a stream where pieces went before it.

    The SDK itself streams for generators alone, whose every answer is then a list.
    """
    streamed = str(job.get("id")) in handler.streamed
    handler.streamed.discard(str(job.get("id")))
    await rp_http.send_result(session, result, job, is_stream=is_stream or streamed)


async def _transmit(session: Any, url: str, body: bytes) -> None:
    """Post as the SDK does, and again when the connection broke or the server failed: a result is worth a minute.

    Raises:
        aiohttp.ClientError, asyncio.TimeoutError: refused, or no way to the server all that time.
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception(_may_pass),
        wait=wait_chain(*(wait_fixed(pause) for pause in POST_AGAIN_S)),
        stop=stop_after_attempt(len(POST_AGAIN_S) + 1),
        before_sleep=_log_posting_again,
        reraise=True,
    )
    await retrying(_transmit_once, session, url, body)


async def _transmit_once(session: Any, url: str, body: bytes) -> None:
    # given as bytes, a large body is copied into the transport's buffer whole, and the loop waits for that
    await _sdk_transmit(session, url, BytesIOPayload(io.BytesIO(body), content_type="application/json"))


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status >= SERVER_FAILS or error.status == TOO_MANY
    return isinstance(error, (aiohttp.ClientError, asyncio.TimeoutError))


def _log_posting_again(state: RetryCallState) -> None:
    failure = state.outcome.exception() if state.outcome is not None else None
    _log.warning("posting again", why=repr(failure), pause_s=state.upcoming_sleep)


def _ping_while_parent_lives(mirror: Any = None, test: bool = False) -> None:  # noqa: FBT001, FBT002 - the SDK calls it so
    """Ping until the worker is gone, however it went. Runs in the SDK's ping process."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the worker, which ends this process
    parent = multiprocessing.parent_process()
    if parent is not None:

        def follow() -> None:
            connection.wait([parent.sentinel])
            os._exit(0)

        threading.Thread(target=follow, name="follow-parent", daemon=True).start()
    heartbeat = rp_ping.Heartbeat()
    heartbeat._mirror = mirror  # noqa: SLF001 - as the SDK's own loop does
    heartbeat.ping_loop(test)
