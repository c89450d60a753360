"""One WebUI, its process (when it is ours), its API and what it lists: started, made ready, asked for pictures.

Blocking work runs in threads; the methods that a job waits for are coroutines. Whoever calls `generate` has the GPU
until it returns: also after a cancel it returns only when the WebUI is idle again, or at work for the next job.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from worker.common.cancellation import shielded
from worker.common.clock import running
from worker.errors import BootFailed, WebUIFailed, WorkerError
from worker.telemetry.logs import get_logger
from worker.webui.execute.interrupt import wait_idle
from worker.webui.names.catalog import Baseline, Catalog
from worker.webui.names.samplers import SamplerTable
from worker.webui.process import options_file
from worker.webui.process.environment import disk_errors
from worker.webui.process.webui_process import WebUIProcess, describe_exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.common.interruption import Interruption
    from worker.webui.execute.generate import GenerationCall, OnState
    from worker.webui.execute.leftovers import Leftovers
    from worker.webui.http import WebUIClient
    from worker.webui.names.catalog import Checkpoint
    from worker.webui.process.launch_plan import FileView, LaunchPlan
    from worker.webui.request.body import Request
    from worker.webui.result.probe import Post, Probe
    from worker.webui.result.response import GenerationResponse

T = TypeVar("T")
_NOISE = re.compile(r" DEBUG \[|^INFO: +[\d.]+:\d+ - |Sampler Scheduler autocorrection|\[modules\.shared_state\]")
"""Lines that are read but not passed on: debug output, a line per request, and names written another way."""
GRACE_S = 10.0
EXTERNAL_WAIT_S = 10.0


class Backend:
    """The WebUI as a backend: its process, its listings and its generations.

    Args:
        plan: What to start or to find.
        on_exit: Called with a description when the process ends without having been asked to.
        view: The folder of checkpoints that the WebUI was given, where that is not the true one.
    """

    def __init__(
        self, plan: LaunchPlan, *, on_exit: Callable[[str], None] = lambda _: None, view: FileView | None = None
    ) -> None:
        self.plan = plan
        self._view = view
        self.baseline = Baseline()
        self.started_model_name = ""
        """The name of the model that it started with."""
        self.version: str | None = None
        """The WebUI's own, as its first picture told it."""
        self.started_model_title = ""
        """The same model by what tells it from others of its name."""
        self._last_requested_title = ""
        self._loaded_checkpoint = ""
        """The place of the checkpoint in memory, where no request can be changing it."""
        self._catalog_read_with = ""
        """The same as of the time when the listings were read: which embeddings fit depends on it."""
        self._call: GenerationCall | None = None
        self._unloadable_titles: set[str] = set()
        """Titles of checkpoints that a WebUI of somebody else has failed to load since it was ready last."""
        self._reachable = True
        self.incompatible_loras: set[tuple[str, str]] = set()
        """``(checkpoint, LoRA)`` seen not to fit: the WebUI says so only the first time."""
        self._on_exit = on_exit
        self._log = get_logger("webui")
        self._process: WebUIProcess | None = None
        self.catalog = Catalog(SamplerTable((), ()))
        """The WebUI's listings, as last read; empty until it is ready."""
        self._spawning = threading.Lock()
        self._ending = threading.Event()
        self._ready_this_run = False
        self._ever_ready = False
        self._deadline = 0.0
        # Threads of its own: the loop's default pool has six on two cores, and uploads may hold all of them.
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="webui")

    # The WebUI need not wait for these to be spawned: their imports take as long as all the rest.

    @cached_property
    def client(self) -> WebUIClient:
        """The WebUI's API."""
        from worker.webui.http import WebUIClient  # noqa: PLC0415 - see above

        plan = self.plan
        return WebUIClient(plan.url, connect_timeout=plan.connect_timeout, silence_s=plan.silence_limit)

    @cached_property
    def probe(self) -> Probe:
        """The findings of tiny test pictures."""
        from worker.webui.result.probe import Probe  # noqa: PLC0415 - see above

        return Probe()

    @cached_property
    def _leftovers(self) -> Leftovers:
        from worker.webui.execute.leftovers import Leftovers  # noqa: PLC0415 - see above

        return Leftovers.of_plan(self.plan)

    def spawn(self) -> None:
        """Start the process, if it is ours to start; return at once. Any earlier run has to be stopped.

        Raises:
            BootFailed: the program can't be run, or the backend was closed meanwhile.
        """
        running.start()
        self._deadline = running() + self.plan.boot_timeout
        self._ready_this_run = False
        if self.plan.program is None:
            from worker.webui.process import external  # noqa: PLC0415 - after a WebUI of ours would have been spawned

            self._log.warning("the WebUI is somebody else's", url=self.plan.url, limits=external.CANNOT)
            return
        if self.plan.options_file is not None and self.plan.options is not None:
            with disk_errors():
                options_file.write(self.plan.options_file, self.plan.options)
        with self._spawning:
            if self._ending.is_set():
                raise BootFailed("the worker is being closed")
            self._process = WebUIProcess(
                self.plan.program,
                on_line=self._line,
                on_exit=self._exited,
                on_spawn=lambda pid: self._log.info("spawned", pid=pid),
            )

    def wait_ready(self) -> None:
        """Block until the model asked for is loaded and everything it lists is known.

        Raises:
            BootFailed: it will not be; the message names the cause, `details.log` has the log's end.
        """
        from worker.webui.process import boot  # noqa: PLC0415 - after the WebUI was spawned

        self._leftovers.files.start_anew(self.plan.checkpoint)
        self._reachable = bool(self._unloadable_titles)  # it has just answered that a model can't be read
        boot.reach(self.plan, self.client, self)
        self._reachable = True  # whoever waits may go on waiting: models are loaded, and hangs are noticed
        try:
            ready = boot.make_ready(self.plan, self.client, self, learn=self._learn, broken=self._unloadable_titles)
        except BootFailed:
            self._reachable = False
            raise
        self._unloadable_titles.clear()
        self.catalog, self.baseline = ready.catalog, ready.baseline
        self._ready_this_run = self._ever_ready = True
        self.started_model_name, self.started_model_title = ready.model_name, ready.model_title
        self._last_requested_title = ready.model_title
        self.version = ready.version
        loaded = [each.place for each in ready.catalog.checkpoints if self.started_with(each)]
        self._loaded_checkpoint = self._catalog_read_with = loaded[0] if len(loaded) == 1 else ""
        self._log.info("ready", model=self.started_model_name, checkpoints=len(ready.catalog.checkpoints))

    def stop(self, grace: float = 0.0) -> None:
        """End the process group, if it is ours, and every request to it; `on_exit` is not called."""
        process = self._process
        if process is not None:
            process.stop(grace)
        if "client" in self.__dict__:
            self.client.abort()

    def close(self, grace: float = GRACE_S) -> None:
        """End the process group, if it is ours, for good."""
        with self._spawning:
            self._ending.set()
        self.stop(grace if self._ready_this_run else 0.0)  # one that has not worked yet has nothing to finish
        if "client" in self.__dict__:
            self.client.close()
        if self.plan.options_file is not None:
            shutil.rmtree(self.plan.options_file.parent, ignore_errors=True)

    def started_with(self, checkpoint: Checkpoint) -> bool:
        """Return whether it started with this checkpoint."""
        return self.started_model_title in {checkpoint.title, checkpoint.stem}

    def knows_embeddings_of(self, checkpoint: Checkpoint) -> bool:
        """Return whether the listings say which embeddings fit this checkpoint."""
        return self._catalog_read_with == checkpoint.place

    @property
    def pid(self) -> int | None:
        """The process, where it is ours and was started."""
        return self._process.pid if self._process is not None else None

    def patience(self) -> float | None:
        """Return how many seconds a job waits for it to work again; None: as long as the job may take.

        One of somebody else may never come back, and this worker can do nothing about it.
        """
        return EXTERNAL_WAIT_S if self.plan.is_external and not self._reachable else None

    def ended(self) -> str | None:
        """Return how the process ended, None while it runs (or is not ours)."""
        code = self._process.exit_code if self._process is not None else None
        return None if code is None else describe_exit(code)

    def tail(self) -> Sequence[str]:
        """Return the last lines of the WebUI's log."""
        return self._process.log.tail(200) if self._process is not None else []

    def left(self) -> float:
        """Return the seconds until the boot deadline; none when the worker ends."""
        return 0.0 if self._ending.is_set() else self._deadline - running()

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the process lives."""
        if self._process is not None:
            self._process.wait(seconds)
        else:
            self._ending.wait(seconds)

    def ends(self, seconds: float) -> bool:
        """Wait for the process that runs now to end; return whether it did."""
        return self._process.wait(seconds) if self._process is not None else False

    async def relearn(self, *, refresh: Sequence[str] = ()) -> Catalog:
        """Read the listings again, after asking the WebUI to look for new files of the given kinds.

        Args:
            refresh: Of ``checkpoints``, ``vae``, ``embeddings``, ``loras``. It waits for a running job.
        """

        def work() -> Catalog:
            if self._view is not None:
                self._view.sync()
            post = self._poster(running() + self.plan.boot_timeout)
            for kind in refresh:
                post(f"/sdapi/v1/refresh-{kind}", {})
            return self._learn()

        before = self._loaded_checkpoint if self._process is not None else ""  # somebody else's has other clients
        self.catalog = await self._thread(work)
        self._catalog_read_with = before if before == self._loaded_checkpoint else ""
        return self.catalog

    async def refresh_baseline(self) -> None:
        """Read the defaults of options again, which other clients may have changed; not while a request runs there.

        Raises what `WebUIClient.get` raises.
        """
        from worker.webui.process import boot, external  # noqa: PLC0415 - after the WebUI was spawned

        options = await self._thread(external.options_between_jobs, self.client)
        self.baseline = self.baseline if options is None else boot.read_baseline(options)

    def _learn(self) -> Catalog:
        from worker.webui.process import boot  # noqa: PLC0415 - after the WebUI was spawned

        catalog = boot.learn(self.client)
        if self._view is None:
            return catalog
        true = self._view.true
        return replace(
            catalog, checkpoints=tuple(replace(each, filename=true(each.filename)) for each in catalog.checkpoints)
        )

    async def generate(
        self,
        request: Request,
        *,
        timeout: float,
        on_state: OnState | None = None,
        on_gpu_free: Callable[[], None] = lambda: None,
        interruption: Interruption | None = None,
    ) -> GenerationResponse:
        """Send `request` once and return what came back; see `GenerationCall.run`."""
        from worker.webui.execute.generate import GenerationCall  # noqa: PLC0415 - after the WebUI was spawned

        post = self._poster(running() + timeout)
        # It may begin with loading a model then, which takes long and shows no progress.
        loads = request.expect.checkpoint.title != self._last_requested_title
        try:
            await shielded(self._thread(partial(self._leftovers.clear, request, self.catalog, post, loads=loads)))
        except WebUIFailed:
            self._note_unloadable(request)
            raise
        self._last_requested_title = request.expect.checkpoint.title
        self._loaded_checkpoint = "" if loads or request.may_change_checkpoint else self._loaded_checkpoint
        call = self._call = GenerationCall(
            request,
            plan=self.plan,
            client=self.client,
            process=self._process,
            pool=self._pool,
            abandon=self.abandon,
            loads=loads,
        )
        unproven = [] if self._process is None else self.probe.unproven(request, self.catalog)
        # The probe needs the GPU too, which is passed on after it then.
        freed: Callable[[], None] = (lambda: None) if unproven else on_gpu_free
        try:
            response = await call.run(timeout=timeout, on_state=on_state, on_gpu_free=freed, interruption=interruption)
        except WorkerError as error:
            if loads and error.details.get("half_loaded"):
                self._last_requested_title = ""  # which model is loaded now, nobody knows
                self._note_unloadable(request)
            raise
        if self._call is call and not request.may_change_checkpoint:
            self._loaded_checkpoint = request.expect.checkpoint.place
        if response.is_cut_short:
            return response  # its client waits for no proof
        return await self._probed(response, request, unproven, post)

    async def _probed(
        self, response: GenerationResponse, request: Request, unproven: Sequence[str], post: Post
    ) -> GenerationResponse:
        """Return `response` with what tiny test pictures show of what neither it nor a log of ours tells."""
        if self._process is None:
            found = await shielded(self._thread(self.probe.request, request, post))
            return replace(response, found=found)
        if not unproven:
            return response
        try:
            stopped = await shielded(self._thread(self.probe.stopped, request, unproven, post))
        except WorkerError as error:  # this job's own answer came whole, and the next request will see what is wrong
            self._log.warning("a look at LoRAs failed", error=error.message)
            return response
        return replace(response, found=replace(response.found, stopped=stopped))

    def _note_unloadable(self, request: Request) -> None:
        """Take note that a WebUI of somebody else, which can't be started anew, has failed to load a checkpoint."""
        if self.plan.is_external:
            self._unloadable_titles.add(request.expect.checkpoint.title)

    async def idle_upscalers(self, names: Iterable[str], *, timeout: float) -> list[str]:
        """Return those of the upscalers `names` that do nothing but resize; raises what the client raises."""
        poster = self._poster(running() + timeout)
        return await shielded(self._thread(self.probe.idle_upscalers, names, poster))

    def _poster(self, end: float) -> Post:
        silence_s = self.plan.stall_timeout
        return lambda path, body: self.client.post(path, body, timeout=max(1.0, end - running()), silence_s=silence_s)

    async def interrupt(self) -> bool:
        """Interrupt whatever runs until nothing does; return False where it had to be abandoned."""
        return await self._thread(self._interrupt)

    async def unload_model(self) -> None:
        """Free its caches: the model leaves the GPU and comes back. Never during a job.

        Raises:
            WebUIUnreachable, WebUIFailed, WebUIRejected: it did not work.
        """

        def work() -> None:
            for path in ("unload-checkpoint", "reload-checkpoint"):
                self.client.post(f"/sdapi/v1/{path}", {}, timeout=self.plan.boot_timeout)

        await self._thread(work)

    def abandon(self, why: str) -> None:
        """Kill a WebUI that can't be trusted any more and tell `on_exit` so. Blocking, for some milliseconds.

        One of somebody else is only left: what waits for its answers ends, and it has to be proven ready again.
        """
        self._log.error("abandoned", why=why)
        self.stop()
        self._on_exit(why)

    def _interrupt(self) -> bool:
        if wait_idle(self.client, limit_s=self.plan.idle_timeout, silence_s=self.plan.silence_patience):
            return True
        self.abandon("it did not become idle")
        return False

    async def _thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def _line(self, line: str) -> None:
        if self._call is not None:
            self._call.read(line)
        # What the WebUI says while it works may quote prompts; nothing does before it is ready.
        if not _NOISE.search(line) and (self.plan.log_prompts or not self._ever_ready):
            self._log.info(line)

    def _exited(self, process: WebUIProcess, code: int) -> None:
        how = describe_exit(code)
        if process.told_to_end:
            self._log.info("ended", how=how)
            return
        self._log.error("ended", how=how, log=list(self.tail())[-30:] if self.plan.log_prompts else [])
        self._on_exit(f"it ended ({how})")
