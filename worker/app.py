"""The worker put together: settings, WebUI, model store, delivery and service, in the order in which they start.

Import and construct it first, `spawn` the WebUI, and only then import what is slow (runpod, boto3): they load while
the WebUI boots.
"""

from __future__ import annotations

import asyncio
import importlib
import resource
import shutil
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker import default_checkpoint
from worker.common.clock import running
from worker.doctor.quick import refuse_the_hopeless, refuse_unwritable
from worker.settings import AUTO_PIXELS, MODEL_KINDS
from worker.telemetry.logs import get_logger
from worker.webui.backend import Backend
from worker.webui.process import launch_plan as launch
from worker.webui.process.device import fitting_pixels
from worker.webui.process.environment import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.assembly import Assembly
    from worker.common.interruption import Wish
    from worker.errors import WorkerError
    from worker.models.local_disk.copies import Staging
    from worker.models.store import ModelStore
    from worker.recovery.supervisor import Supervisor
    from worker.serving.observability import Observability
    from worker.settings import Settings
    from worker.telemetry.progress import PieceSink, ProgressSink
    from worker.webui.process.device import Device

NEEDED_TO_WAIT = ("worker.webui.process.boot", "worker.webui.http", "worker.webui.execute.generate")


class Worker:
    """One worker, from its settings to its end.

    Args:
        settings: As read from the environment.
        environment: Of this process; the WebUI gets it without secrets.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._log = get_logger("worker")
        self._death_lock = threading.Lock()
        self._death: WorkerError | None = None
        self._death_callback: Callable[[WorkerError], None] | None = None
        self._kind = launch.kind(settings)
        self._demo = self._kind == launch.STAND_IN and settings.models_dir is None and settings.checkpoint_dir is None
        self.settings = settings.model_copy(update={"models_dir": _demo_models(settings)}) if self._demo else settings
        self._backend: Backend | None = None
        self._supervisor: Supervisor | None = None
        self._store: ModelStore | None = None
        self._making_store = threading.Lock()
        self.staging: Staging | None = None
        self._default: str | None = None
        self._parts: Assembly | None = None
        self._observability: Observability | None = None

    def spawn(self) -> None:
        """Start the WebUI and return at once.

        Raises:
            BootFailed: there is none, or its checkpoint can't be had.
        """
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold every secret; the WebUI inherits this
        if self._kind == launch.STAND_IN:
            self._log.info("no WebUI here: the stand-in draws the pictures, it does not diffuse them")
        refuse_the_hopeless(self.settings, gpu=self.settings.gpu_promised)  # before gigabytes are fetched for nothing
        if self._demo:
            refuse_unwritable(self.settings.out_dir)
        checkpoint = default_checkpoint.checkpoint(self.settings, self._models, demo=self._demo)
        if checkpoint is not None:
            self._default = str(checkpoint.relative_to(self.settings.folder("checkpoint").absolute()))
            if self.settings.staging_dir is not None and not self._demo:
                from worker.models.local_disk import copies  # noqa: PLC0415 - takes long, and most have no local disk to copy to

                self.staging = copies.copies(checkpoint, self.settings.folder("checkpoint"), self.settings)
        view = self.staging.view.place if self.staging is not None else None
        shown = self.staging.view.shown(checkpoint) if self.staging is not None and checkpoint else checkpoint
        with disk_errors():
            plan = launch.plan(self.settings, shown, self._environment, checkpoint_dir=view, demo_models=self._demo)
            self._apply_device_limits(plan.device)
            self._backend = Backend(plan, on_exit=self._lost, view=self.staging)
            self._backend.spawn()
        self._start_companions(self._backend, checkpoint)

    def _apply_device_limits(self, device: Device | None) -> None:
        """Fill in the settings that depend on the device, and say what it is where that may surprise."""
        if device is not None and device.warning is not None:
            self._log.warning(device.warning)
        if self.settings.max_pixels == AUTO_PIXELS:
            self.settings = self.settings.model_copy(update={"max_pixels": fitting_pixels(device)})
            self._log.info("MAX_PIXELS=auto", max_pixels=self.settings.max_pixels)

    def _start_companions(self, backend: Backend, checkpoint: Path | None) -> None:
        """Prepare everything that the WebUI need not wait for, imports included."""
        from worker.recovery.supervisor import RestartBudget, Supervisor  # noqa: PLC0415 - after the WebUI was spawned

        restarts = RestartBudget(self.settings.restarts, self.settings.restart_window_s)
        self._supervisor = Supervisor(backend, budget=restarts, on_death=self._ended)
        if checkpoint is not None and self.staging is None and self.settings.model_readahead:
            from worker.models.local_disk.readahead import ReadAhead  # noqa: PLC0415 - after the WebUI was spawned

            ReadAhead(checkpoint).start()
        from worker.serving.observability import Observability  # noqa: PLC0415 - after the WebUI was spawned

        remove_leftovers(Path(tempfile.gettempdir()), launch.TEMPORARY)
        self._observability = Observability(self.settings, self)

    def wait_ready(self, *, meanwhile: Sequence[str] = ()) -> None:
        """Block until jobs can be taken.

        Args:
            meanwhile: More modules to import while the WebUI boots.

        Raises:
            BootFailed: they never can; the message names the cause, `details.log` the WebUI's last lines. Raised when
                the WebUI ends, whatever is still being imported.
        """
        for module in NEEDED_TO_WAIT:  # before the other thread imports: see `run_in_background`
            importlib.import_module(module)

        def prepare() -> Assembly:
            for module in meanwhile:
                importlib.import_module(module)
            return self._assemble()

        from worker.serving.background import run_in_background  # noqa: PLC0415 - after the WebUI was spawned

        preparing = run_in_background(prepare)
        self.supervisor.wait_ready()
        self._parts = preparing.result()

    def _assemble(self) -> Assembly:
        from worker.assembly import assemble  # noqa: PLC0415 - imported while the WebUI boots

        if self._observability is None:
            raise AssertionError("spawn comes first")
        store = self._models()
        store.availability.note()
        if self._default is not None:  # for this worker's whole life: every restart of the WebUI loads it
            store.marks.hold([f"checkpoint/{self._default}"])
        return assemble(
            self.settings,
            backend=self.backend,
            supervisor=self.supervisor,
            store=store,
            staging=self.staging,
            watch=self._observability.watch,
        )

    async def run(self, job: Mapping[str, Any], *, on_progress: ProgressSink, on_piece: PieceSink | None = None) -> Any:
        """Return the answer to one job; see `Service.run` and `JobLifecycle`."""
        if self._parts is None:
            raise AssertionError("wait_ready comes first")
        loop = asyncio.get_running_loop()
        if loop.time is not running:
            running.adopt(loop)
        return await self._parts.jobs.run(job, on_progress=on_progress, on_piece=on_piece)

    def interrupt(self, job_id: str, wish: Wish) -> bool:
        """Have a job's pictures end early; see `Service.interrupt`. In the jobs' loop."""
        return self._parts is not None and self._parts.service.interrupt(job_id, wish)

    def on_death(self, callback: Callable[[WorkerError], None]) -> None:
        """Have `callback` called, from any thread, when the WebUI is gone for good; at once if it already is."""
        with self._death_lock:
            self._death_callback = callback
            death = self._death
        if death is not None:
            callback(death)

    def close(self) -> None:
        """End the WebUI and whatever it started, and what is on its way for jobs that are over."""
        if self._parts is not None:
            self._parts.pictures.abort()
            self._parts.jobs.close()
        if self._supervisor is not None:
            self._supervisor.close()
        elif self._backend is not None:
            self._backend.close()
        if self._observability is not None:
            self._observability.close()
        if self.staging is not None:
            self.staging.close()
        if self._store is not None:
            self._store.close()

    @property
    def backend(self) -> Backend:
        """The WebUI."""
        if self._backend is None:
            raise AssertionError("spawn comes first")
        return self._backend

    @property
    def supervisor(self) -> Supervisor:
        """The owner of the WebUI's life."""
        if self._supervisor is None:
            raise AssertionError("spawn comes first")
        return self._supervisor

    def drain(self) -> None:
        """Take note that no more jobs come, and give those that run their grace. Call it from any thread."""
        self.supervisor.drain()
        if self._parts is not None:
            self._parts.jobs.stop()

    def health(self) -> dict[str, Any]:
        """Return the worker's state and what was wrong last; see `Supervisor.health`."""
        return self.supervisor.health()

    def gpu_line(self) -> tuple[int, float]:
        """Return how many jobs wait for the GPU, and the seconds for which it was somebody's."""
        gpu = self._parts.service.gpu if self._parts is not None else None
        return (gpu.waiting, gpu.busy_s) if gpu is not None else (0, 0.0)

    def webui_memory(self) -> dict[str, int]:
        """Return ``{ram_bytes, vram_bytes}`` of the WebUI as last measured, what is known of it."""
        return self._parts.service.memory if self._parts is not None else {}

    def volume(self) -> dict[str, tuple[int, int]]:
        """Return files and bytes of models on the volume, by kind."""
        volume = self._models().volume
        found: dict[str, tuple[int, int]] = {}
        for kind in MODEL_KINDS:
            files = [file for name in volume.names(kind) if (file := volume.look(kind, name)) is not None]
            found[kind] = (len(files), sum(file.size for file in files))
        return found

    def fetched(self) -> tuple[int, int]:
        """Return files and bytes of models that this worker has fetched."""
        return self._store.fetched if self._store is not None else (0, 0)

    def cache(self) -> tuple[int, int, int, float]:
        """Return how often results came from the cache, were made, were shared, and the seconds that were saved."""
        figures = self._parts.cache.figures if self._parts is not None else None
        return (
            (figures.hits, figures.misses, figures.shared, figures.saved_s) if figures is not None else (0, 0, 0, 0.0)
        )

    def _lost(self, why: str) -> None:
        if self._supervisor is not None:  # else it ended at once, which `wait_ready` reports
            self._supervisor.lost(why)

    def _ended(self, death: WorkerError) -> None:
        with self._death_lock:
            self._death = death
            tell = self._death_callback
        if tell is not None:
            tell(death)

    def _models(self) -> ModelStore:
        from worker.models.store import ModelStore  # noqa: PLC0415 - not needed with WEBUI_URL until it is ready

        with self._making_store:  # figures may be asked for while the jobs' parts are being put together
            if self._store is None:
                self._store = ModelStore(self.settings)
            return self._store


def _demo_models(settings: Settings) -> Path:
    return (settings.out_dir / "stand-in" / "models").absolute()


def remove_leftovers(temporary: Path, prefix: str) -> None:
    """Remove the folders ``<prefix><pid>`` below `temporary` whose process is gone."""
    import psutil  # noqa: PLC0415 - after the WebUI was spawned

    for folder in temporary.glob(f"{prefix}*"):
        pid = folder.name.removeprefix(prefix)
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
