"""One WebUI, its process (when it is ours), its API and what it lists: started, made ready, asked for pictures.

Blocking work runs in threads; the methods that a job waits for are coroutines. Whoever calls `generate` holds the GPU's
lock until it returns: also after a cancel it returns only when the WebUI is idle again.
"""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from worker.errors import (
    BootFailed,
    DeadlineExceeded,
    GenerationStalled,
    WebUICrashed,
    WebUIFailed,
    WebUIUnreachable,
    WorkerError,
)
from worker.telemetry.logs import get_logger
from worker.webui import answer as answers
from worker.webui import boot, calm, config
from worker.webui.body import Baseline
from worker.webui.client import WebUIClient
from worker.webui.gpuspan import GpuSpan
from worker.webui.process import Program, WebUIProcess, describe_exit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from worker.webui.body import Request
    from worker.webui.catalog import Catalog, Checkpoint
    from worker.webui.weights import Weights

    OnState = Callable[[Mapping[str, Any]], None]

T = TypeVar("T")
_NOISE = re.compile(r" DEBUG \[|^INFO: +[\d.]+:\d+ - |Sampler Scheduler autocorrection|\[modules\.shared_state\]")
"""Lines that are read but not passed on: debug output, a line per request, and names written another way."""
PROGRESS_S = 0.5
GRACE_S = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a backend comes to be.

    Attributes:
        name: ``a1111`` or ``stand-in``, told in every answer.
        url: Where it listens.
        program: What to run; None: it is running already.
        options_file, options: Written before the program starts.
        checkpoint: The model file it has to load; None: whatever it has loaded.
        weights: Upscaler and face restoration weights on this machine; None: unknown.
    """

    name: str
    url: str
    boot_timeout: float
    idle_timeout: float
    connect_timeout: float
    program: Program | None = None
    options_file: Path | None = None
    options: Mapping[str, Any] | None = None
    checkpoint: Path | None = None
    checkpoint_name: str | None = None
    weights: Weights | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """An answer and what the WebUI's log said meanwhile."""

    answer: answers.Answer
    log: tuple[str, ...]


class Backend:
    """See the module's docstring.

    Args:
        plan: What to start or to find.
        on_exit: Called with a description when the process ends without having been asked to.
    """

    def __init__(self, plan: Plan, *, on_exit: Callable[[str], None] = lambda _: None) -> None:
        self.plan = plan
        self.client = WebUIClient(plan.url, connect_timeout=plan.connect_timeout)
        self.baseline = Baseline()
        self.loaded = ""
        self.unfit: set[tuple[str, str]] = set()
        """``(checkpoint, LoRA)`` seen not to fit: the WebUI says so only the first time."""
        self._on_exit = on_exit
        self._log = get_logger("webui")
        self._process: WebUIProcess | None = None
        self._catalog: Catalog | None = None
        self._closing = False
        self._span: GpuSpan | None = None
        self._deadline = 0.0
        # Its own threads: the loop's default pool has six on two cores, and uploads may hold all of them.
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="webui")

    # Life -------------------------------------------------------------------------------------------------------

    def spawn(self) -> None:
        """Start the process, if it is ours to start; return at once.

        Raises:
            BootFailed: the program can't be run.
        """
        self._deadline = time.monotonic() + self.plan.boot_timeout
        if self.plan.program is None:
            return
        if self.plan.options_file is not None and self.plan.options is not None:
            config.write(self.plan.options_file, self.plan.options)
        self._process = WebUIProcess(self.plan.program, on_line=self._line, on_exit=self._exited)
        self._log.info("spawned", pid=self._process.pid)

    def wait_ready(self) -> None:
        """Block until the model asked for is loaded and everything it lists is known.

        Raises:
            BootFailed: it will not be; the message names the cause, `details.log` has the log's end.
        """
        boot.wait_for_port(self.plan.url, self)
        self._log.info("port open")
        boot.wait_for_model(self.client, self)
        try:
            boot.pin_options(self.client)
            self._catalog = boot.learn(self.client)
            options = self.client.get("/sdapi/v1/options")
            wanted = self._default_checkpoint(self._catalog)
            # A WebUI of ours was told what to load, and what it did load has to show; another may be switched.
            switch = wanted.title if wanted is not None and self._process is None else None
            self.loaded = boot.warm_up(self.client, switch, max(1.0, self.left()))
        except WorkerError as error:
            self.pause(boot.POLL_S)
            boot.check(self)
            raise boot.failure(f"the WebUI could not make a first picture: {error.message}", self) from error
        self.baseline = Baseline(
            clip_skip=int(options.get("CLIP_stop_at_last_layers") or 1), vae=str(options.get("sd_vae") or "Automatic")
        )
        if wanted is not None and self.loaded not in {wanted.name, wanted.title}:
            raise boot.failure(f"the WebUI loaded {self.loaded!r} in place of {wanted.name!r}", self)
        self._log.info("ready", model=self.loaded, checkpoints=len(self._catalog.checkpoints))

    def close(self, grace: float = GRACE_S) -> None:
        """End the process group, if it is ours."""
        self._closing = True
        if self._process is not None:
            self._process.stop(grace)
        self.client.close()

    # What `boot` watches -----------------------------------------------------------------------------------------

    def ended(self) -> str | None:
        """Return how the process ended, None while it runs (or is not ours)."""
        code = self._process.exit_code if self._process is not None else None
        return None if code is None else describe_exit(code)

    def tail(self) -> Sequence[str]:
        """Return the last lines of the WebUI's log."""
        return self._process.log.tail(200) if self._process is not None else []

    def left(self) -> float:
        """Return the seconds until the boot deadline."""
        return self._deadline - time.monotonic()

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the process lives."""
        if self._process is not None:
            self._process.wait(seconds)
        else:
            time.sleep(seconds)

    # What it has -------------------------------------------------------------------------------------------------

    @property
    def catalog(self) -> Catalog:
        """What the WebUI lists, as last learnt."""
        if self._catalog is None:
            raise AssertionError("learnt in wait_ready")
        return self._catalog

    async def relearn(self, *, refresh: Sequence[str] = ()) -> Catalog:
        """Read the listings again, after asking the WebUI to look for new files of the given kinds.

        Args:
            refresh: Of ``checkpoints``, ``vae``, ``embeddings``, ``loras``. It waits for a running job.
        """

        def work() -> Catalog:
            for kind in refresh:
                path = {"embeddings": "refresh-embeddings"}.get(kind, f"refresh-{kind}")
                self.client.post(f"/sdapi/v1/{path}", {}, timeout=self.plan.boot_timeout)
            return boot.learn(self.client)

        self._catalog = await self._thread(work)
        return self._catalog

    # Pictures ----------------------------------------------------------------------------------------------------

    async def generate(
        self,
        request: Request,
        *,
        timeout: float,
        on_state: OnState | None = None,
        on_gpu_free: Callable[[], None] = lambda: None,
    ) -> Made:
        """Send `request` once and return what came back.

        Args:
            request: What to ask for.
            timeout: Seconds until it is interrupted.
            on_state: Gets the WebUI's progress every half second.
            on_gpu_free: Called in the loop's thread when the WebUI only encodes and sends any more: another
                `generate` may begin. Not called where the log does not tell, nor for a request being interrupted.

        Raises:
            WebUICrashed, WebUIUnreachable, WebUIFailed, WebUIRejected, OutOfMemory, NanImage, WrongResult: as named.
            DeadlineExceeded: `timeout` has passed; the WebUI is idle again.
            GenerationStalled: it did not become idle after an interrupt.
            asyncio.CancelledError: the WebUI is idle again.
        """
        mark = self._process.log.mark() if self._process is not None else 0
        ceiling = timeout + self.plan.idle_timeout
        watching = asyncio.ensure_future(self._watch(on_state)) if on_state is not None else None
        loop = asyncio.get_running_loop()

        def freed() -> None:
            if watching is not None:
                watching.cancel()  # from now on it would be told of the next job
            on_gpu_free()

        span = self._span = GpuSpan(loop.call_soon_threadsafe, freed)
        sending = asyncio.ensure_future(self._thread(self._post, request, ceiling))
        try:
            done, _ = await asyncio.wait({sending}, timeout=timeout)
        except asyncio.CancelledError:
            await self._calm(sending, span)
            raise
        finally:
            if watching is not None:
                watching.cancel()
        if not done:
            await self._calm(sending, span)
            raise DeadlineExceeded(f"the generation took longer than {timeout:g} s and was interrupted")
        content = sending.result()
        return Made(answers.read(content), await self._thread(self._lines, mark, span))

    async def _thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def _post(self, request: Request, timeout: float) -> Any:
        try:
            return self.client.post(request.path, request.body, timeout=timeout)
        except WebUIUnreachable as error:
            if self._process is not None and self._process.wait(0.5):
                raise WebUICrashed(
                    f"the WebUI ended during the job ({self.ended()})", details={"log": list(self.tail())[-30:]}
                ) from error
            raise
        except WebUIFailed as error:
            raise answers.meaning(error) from error

    def _lines(self, mark: int, span: GpuSpan) -> tuple[str, ...]:
        return tuple(self._process.log.since(mark, span.end)) if self._process is not None else ()

    async def _watch(self, on_state: OnState) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            try:
                state = await self._thread(self.client.get, "/sdapi/v1/progress?skip_current_image=true")
            except WorkerError:
                continue
            if isinstance(state, dict):
                on_state(state)

    async def _calm(self, sending: asyncio.Future[Any], span: GpuSpan) -> None:
        """Have the WebUI idle; see `calm.see_out`.

        Raises:
            GenerationStalled: it is not and was abandoned.
        """

        def interrupt() -> None:
            try:
                self.client.post("/sdapi/v1/interrupt", {}, timeout=5.0)
            except WorkerError as error:
                self._log.warning("interrupt failed", error=error.message)

        idle, again = await calm.see_out(
            sending, span, interrupt=partial(self._thread, interrupt), limit_s=self.plan.idle_timeout
        )
        if not idle:
            self.abandon("it did not react to an interrupt")
            if not again:
                raise GenerationStalled(f"the WebUI was not idle {self.plan.idle_timeout:g} s after an interrupt")

    def abandon(self, why: str) -> None:
        """Kill a WebUI that can't be trusted any more; `on_exit` follows."""
        self._log.error("abandoned", why=why)
        if self._process is not None:
            self._process.stop(0)
        else:
            self._on_exit(why)

    # Its process -------------------------------------------------------------------------------------------------

    def _default_checkpoint(self, catalog: Catalog) -> Checkpoint | None:
        wanted = self.plan.checkpoint.name if self.plan.checkpoint is not None else self.plan.checkpoint_name
        if not wanted:
            return None
        found = catalog.checkpoint(wanted)
        if found is None:
            names = ", ".join(c.name for c in catalog.checkpoints) or "none"
            raise BootFailed(f"the default checkpoint {wanted!r} is not in the WebUI's list; it has: {names}")
        return found

    def _line(self, line: str) -> None:
        if self._span is not None and self._process is not None:
            self._span.read(line, self._process.log.mark)
        if not _NOISE.search(line):
            self._log.info(line)

    def _exited(self, code: int) -> None:
        how = describe_exit(code)
        if self._closing:
            self._log.info("ended", how=how)
            return
        self._log.error("ended", how=how, log=list(self.tail())[-30:])
        self._on_exit(how)
