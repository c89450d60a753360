"""One WebUI, its process (when it is ours), its API and what it lists: started, made ready, asked for pictures.

Blocking work runs in threads; the methods that a job waits for are coroutines. Whoever calls `generate` holds the GPU's
lock until it returns: also after a cancel it returns only when the WebUI is idle again.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from worker.aio import shielded
from worker.errors import BootFailed
from worker.telemetry.logs import get_logger
from worker.webui import config
from worker.webui.baseline import Baseline
from worker.webui.disk import disk_errors
from worker.webui.process import WebUIProcess, describe_exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Executor

    from worker.webui.body import Request
    from worker.webui.catalog import Catalog, Checkpoint
    from worker.webui.client import WebUIClient
    from worker.webui.plan import Plan, View
    from worker.webui.probe import Probe
    from worker.webui.sending import Made, OnState, Sending

T = TypeVar("T")
_NOISE = re.compile(r" DEBUG \[|^INFO: +[\d.]+:\d+ - |Sampler Scheduler autocorrection|\[modules\.shared_state\]")
"""Lines that are read but not passed on: debug output, a line per request, and names written another way."""
GRACE_S = 10.0


class Backend:
    """See the module's docstring.

    Args:
        plan: What to start or to find.
        on_exit: Called with a description when the process ends without having been asked to.
        view: The folder of checkpoints that the WebUI was given, where that is not the true one.
    """

    def __init__(
        self, plan: Plan, *, on_exit: Callable[[str], None] = lambda _: None, view: View | None = None
    ) -> None:
        self.plan = plan
        self._view = view
        self.baseline = Baseline()
        self.loaded = ""
        """The name of the model that it started with."""
        self.default = ""
        """The same model by what tells it from others of its name."""
        self._last_model = ""
        self._sending: Sending | None = None
        self.unfit: set[tuple[str, str]] = set()
        """``(checkpoint, LoRA)`` seen not to fit: the WebUI says so only the first time."""
        self._on_exit = on_exit
        self._log = get_logger("webui")
        self._process: WebUIProcess | None = None
        self._catalog: Catalog | None = None
        self._spawning = threading.Lock()
        self._closed = False
        self._worked = False
        self._deadline = 0.0

    @cached_property
    def probe(self) -> Probe:
        """What tiny pictures have shown."""
        from worker.webui.probe import Probe  # noqa: PLC0415 - after the WebUI was spawned

        return Probe()

    @cached_property
    def client(self) -> WebUIClient:
        """The WebUI's API. Made with its first use: HTTP takes 0.1 s to import, in which the WebUI can boot."""
        from worker.webui.client import WebUIClient  # noqa: PLC0415 - see above

        return WebUIClient(self.plan.url, connect_timeout=self.plan.connect_timeout)

    @cached_property
    def _pool(self) -> Executor:
        """Its own threads: the loop's default pool has six on two cores, and uploads may hold all of them."""
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - after the WebUI was spawned

        return ThreadPoolExecutor(max_workers=8, thread_name_prefix="webui")

    # Life -------------------------------------------------------------------------------------------------------

    def spawn(self) -> None:
        """Start the process, if it is ours to start; return at once. Any earlier run has to be stopped.

        Raises:
            BootFailed: the program can't be run, or the backend was closed meanwhile.
        """
        self._deadline = time.monotonic() + self.plan.boot_timeout
        self._worked = False
        if self.plan.program is None:
            return
        if self.plan.options_file is not None and self.plan.options is not None:
            with disk_errors():
                config.write(self.plan.options_file, self.plan.options)
        with self._spawning:
            if self._closed:
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
        from worker.webui import boot  # noqa: PLC0415 - after the WebUI was spawned

        ready = boot.make_ready(self.plan, self.client, self, learn=self._learn)
        self._catalog, self.baseline, self._worked = ready.catalog, ready.baseline, True
        self.loaded, self.default, self._last_model = ready.loaded, ready.default, ready.default
        self._log.info("ready", model=self.loaded, checkpoints=len(ready.catalog.checkpoints))

    def stop(self, grace: float = 0.0) -> None:
        """End the process group, if it is ours; `on_exit` is not called."""
        process = self._process
        if process is not None:
            process.stop(grace)
        if "client" in self.__dict__:
            self.client.close()

    def close(self, grace: float = GRACE_S) -> None:
        """End the process group, if it is ours, for good."""
        with self._spawning:
            self._closed = True
        self.stop(grace if self._worked else 0.0)  # one that has not worked yet has nothing to finish
        if self.plan.options_file is not None:
            shutil.rmtree(self.plan.options_file.parent, ignore_errors=True)

    def began_with(self, checkpoint: Checkpoint) -> bool:
        """Whether it started with this checkpoint."""
        return self.default in {checkpoint.title, checkpoint.stem}

    @property
    def pid(self) -> int | None:
        """The process, where it is ours and was started."""
        return self._process.pid if self._process is not None else None

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

    def ends(self, seconds: float) -> bool:
        """Wait for the process that runs now to end; return whether it did."""
        return self._process.wait(seconds) if self._process is not None else False

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
            if self._view is not None:
                self._view.sync()
            for kind in refresh:
                path = {"embeddings": "refresh-embeddings"}.get(kind, f"refresh-{kind}")
                self.client.post(f"/sdapi/v1/{path}", {}, timeout=self.plan.boot_timeout)
            return self._learn()

        self._catalog = await self._thread(work)
        return self._catalog

    def _learn(self) -> Catalog:
        from worker.webui import boot  # noqa: PLC0415 - after the WebUI was spawned

        catalog = boot.learn(self.client)
        if self._view is None:
            return catalog
        true = self._view.true
        return replace(
            catalog, checkpoints=tuple(replace(each, filename=true(each.filename)) for each in catalog.checkpoints)
        )

    # Pictures ----------------------------------------------------------------------------------------------------

    async def generate(
        self,
        request: Request,
        *,
        timeout: float,
        on_state: OnState | None = None,
        on_gpu_free: Callable[[], None] = lambda: None,
    ) -> Made:
        """Send `request` once and return what came back; see `Sending.run`."""
        from worker.webui.sending import Sending  # noqa: PLC0415 - after the WebUI was spawned

        sending = self._sending = Sending(
            request, plan=self.plan, client=self.client, process=self._process, pool=self._pool, abandon=self.abandon
        )
        loads = self._has_to_load(request)
        end = time.monotonic() + timeout
        made = await sending.run(timeout=timeout, on_state=on_state, on_gpu_free=on_gpu_free, loads=loads)
        if self._process is not None:
            return made  # its log tells

        found = await shielded(self._thread(self.probe.request, request, self._poster(end)))
        return replace(made, found=found)

    async def idle_upscalers(self, names: Iterable[str], *, timeout: float) -> list[str]:
        """Return those of the upscalers `names` that do nothing but resize; raises what the client raises."""
        return await shielded(self._thread(self.probe.idle_upscalers, names, self._poster(time.monotonic() + timeout)))

    def _poster(self, end: float) -> Callable[[str, dict[str, Any]], Any]:
        return lambda path, body: self.client.post(path, body, timeout=max(1.0, end - time.monotonic()))

    async def calm(self) -> bool:
        """Interrupt whatever runs until nothing does; return False where it had to be abandoned."""
        return await self._thread(self._calm)

    async def free(self) -> None:
        """Free its caches: the model leaves the GPU and comes back. Never during a job.

        Raises:
            WebUIUnreachable, WebUIFailed, WebUIRejected: it did not work.
        """

        def work() -> None:
            for path in ("unload-checkpoint", "reload-checkpoint"):
                self.client.post(f"/sdapi/v1/{path}", {}, timeout=self.plan.boot_timeout)

        await self._thread(work)

    def abandon(self, why: str) -> None:
        """Kill a WebUI that can't be trusted any more and tell `on_exit` so. Blocking, for some milliseconds."""
        self._log.error("abandoned", why=why)
        self.stop()
        self._on_exit(why)

    def _has_to_load(self, request: Request) -> bool:
        """Whether the request may begin with a model being loaded, which takes long and shows no progress."""
        found, self._last_model = self._last_model, request.expect.checkpoint.title
        return found != request.expect.checkpoint.title

    def _calm(self) -> bool:
        from worker.webui import calm  # noqa: PLC0415 - after the WebUI was spawned

        if calm.settle(self.client, time.monotonic() + self.plan.idle_timeout):
            return True
        self.abandon("it did not become idle")
        return False

    async def _thread(self, work: Callable[..., T], *arguments: Any) -> T:
        import asyncio  # noqa: PLC0415 - after the WebUI was spawned

        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    # Its process -------------------------------------------------------------------------------------------------

    def _line(self, line: str) -> None:
        if self._sending is not None:
            self._sending.read(line)
        # What the WebUI says while it works may quote prompts; nothing does before it is ready.
        if not _NOISE.search(line) and (self.plan.log_prompts or self._catalog is None):
            self._log.info(line)

    def _exited(self, process: WebUIProcess, code: int) -> None:
        how = describe_exit(code)
        if process.told_to_end:
            self._log.info("ended", how=how)
            return
        self._log.error("ended", how=how, log=list(self.tail())[-30:] if self.plan.log_prompts else [])
        self._on_exit(f"it ended ({how})")
