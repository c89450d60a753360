"""The worker put together: settings, WebUI, model store, delivery and service, in the order in which they come to life.

Import and construct it first, `spawn` the WebUI, and only then import what is slow (runpod, boto3): they load while
the WebUI boots.
"""

from __future__ import annotations

import asyncio
import importlib
import resource
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker import first
from worker.clock import running
from worker.doctor.quick import refuse_the_hopeless
from worker.settings import MODEL_KINDS
from worker.telemetry.logs import get_logger
from worker.webui.backend import Backend
from worker.webui.process import plan as launch
from worker.webui.process.environment import disk_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.errors import WorkerError
    from worker.models.staging import Staging
    from worker.models.store import ModelStore
    from worker.recovery.keeper import Keeper
    from worker.recovery.shift import Shift
    from worker.service import Service
    from worker.serving.operating import Operating
    from worker.settings import Settings
    from worker.stages.streaming import PieceSink
    from worker.telemetry.progress import ProgressSink

NEEDED_TO_WAIT = ("worker.webui.process.boot", "worker.webui.http", "worker.webui.execute.generate")


class Host:
    """One worker.

    Args:
        settings: As read from the environment.
        environment: Of this process; the WebUI gets it without secrets.
    """

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._log = get_logger("host")
        self._died = threading.Lock()
        self._death: WorkerError | None = None
        self._tell: Callable[[WorkerError], None] | None = None
        self._kind = launch.kind(settings)
        self._demo = self._kind == launch.STAND_IN and settings.models_dir is None and settings.checkpoint_dir is None
        self.settings = settings.model_copy(update={"models_dir": _demo_models(settings)}) if self._demo else settings
        self._backend: Backend | None = None
        self._keeper: Keeper | None = None
        self._store: ModelStore | None = None
        self.staging: Staging | None = None
        self._default: str | None = None
        self._shift: Shift | None = None
        self._service: Service | None = None
        self._operating: Operating | None = None

    def spawn(self) -> None:
        """Start the WebUI and return at once.

        Raises:
            BootFailed: there is none, or its checkpoint can't be had.
        """
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold every secret; the WebUI inherits this
        if self._kind == launch.STAND_IN:
            self._log.warning("no WebUI here: the stand-in draws the pictures, it does not diffuse them")
        refuse_the_hopeless(self.settings, gpu=self.settings.gpu_promised)  # before gigabytes are fetched for nothing
        checkpoint = first.checkpoint(self.settings, self._models, demo=self._demo)
        if checkpoint is not None:
            self._default = str(checkpoint.relative_to(self.settings.folder("checkpoint").absolute()))
            if self.settings.staging_dir is not None and not self._demo:
                from worker.models import nearby  # noqa: PLC0415 - takes long, and most have no local disk to copy to

                self.staging = nearby.copies(checkpoint, self.settings.folder("checkpoint"), self.settings)
        view = self.staging.view.place if self.staging is not None else None
        shown = self.staging.view.shown(checkpoint) if self.staging is not None and checkpoint else checkpoint
        with disk_errors():
            plan = launch.plan(self.settings, shown, self._environment, checkpoint_dir=view, demo_models=self._demo)
            self._backend = Backend(plan, on_exit=self._lost, view=self.staging)
            self._backend.spawn()
        self._accompany(self._backend, checkpoint)

    def _accompany(self, backend: Backend, checkpoint: Path | None) -> None:
        """Do what the WebUI need not wait for, imports included."""
        from worker.recovery import budget, keeper, results  # noqa: PLC0415 - after the WebUI was spawned

        restarts = budget.Budget(self.settings.restarts, self.settings.restart_window_s)
        self._keeper = keeper.Keeper(backend, budget=restarts, on_death=self._ended)
        if checkpoint is not None and self.staging is None and self.settings.model_readahead:
            from worker.models.readahead import ReadAhead  # noqa: PLC0415 - after the WebUI was spawned

            ReadAhead(checkpoint).start()
        from worker.serving.operating import Operating  # noqa: PLC0415 - after the WebUI was spawned

        results.remove_dead(Path(tempfile.gettempdir()), launch.TEMPORARY, results.is_alive)
        self._operating = Operating(self.settings, self)

    def wait_ready(self, *, meanwhile: Sequence[str] = ()) -> None:
        """Block until jobs can be taken.

        Args:
            meanwhile: More modules to import while the WebUI boots.

        Raises:
            BootFailed: they never can; the message names the cause, `details.log` the WebUI's last lines. Raised when
                the WebUI ends, whatever is still being imported.
        """
        for module in NEEDED_TO_WAIT:  # before the other thread imports: see `Beside`
            importlib.import_module(module)

        def prepare() -> Service:
            for module in meanwhile:
                importlib.import_module(module)
            return self._assemble()

        from worker.serving.beside import Beside  # noqa: PLC0415 - after the WebUI was spawned

        preparing = Beside(prepare)
        self.keeper.wait_ready()
        self._service = preparing.wait()
        from worker.recovery.shift import Shift  # noqa: PLC0415 - after the WebUI was spawned

        self._shift = Shift(self._service.run, self._service.results, grace_s=self.settings.stop_grace_s)

    def _assemble(self) -> Service:
        from random import SystemRandom  # noqa: PLC0415 - after the WebUI was spawned

        from worker.delivery.deliver import Delivery  # noqa: PLC0415 - after the WebUI was spawned
        from worker.delivery.target import from_settings  # noqa: PLC0415 - after the WebUI was spawned
        from worker.net.addresses import AllowList  # noqa: PLC0415 - after the WebUI was spawned
        from worker.net.guard import Guard  # noqa: PLC0415 - after the WebUI was spawned
        from worker.recovery.results import Results  # noqa: PLC0415 - after the WebUI was spawned
        from worker.service import Service  # noqa: PLC0415 - after the WebUI was spawned
        from worker.stages.house import read_house  # noqa: PLC0415 - after the WebUI was spawned
        from worker.stages.source import PictureSource  # noqa: PLC0415 - after the WebUI was spawned

        if self._operating is None:
            raise AssertionError("spawn comes first")
        settings = self.settings
        self._models().presence.note()
        if self._default is not None:  # for this worker's whole life: every restart of the WebUI loads it
            self._models().marks.hold([f"checkpoint/{self._default}"])
        guard, target = Guard(AllowList.of(settings.allowed_hosts)), from_settings(settings)
        delivery = Delivery(
            guard,
            store=target,
            wish=settings.delivery,
            limit=settings.max_output_bytes,
        )
        delivery.warm()
        return Service(
            settings,
            backend=self.backend,
            keeper=self.keeper,
            store=self._models(),
            delivery=delivery,
            source=PictureSource(guard, delivery.clients, store=target, fetch_s=settings.fetch_timeout_s),
            results=Results(settings.results_root, settings.result_retention_s),
            random=SystemRandom(),
            house=read_house(settings),
            watch=self._operating.watch,
            staging=self.staging,
        )

    async def run(self, job: Mapping[str, Any], *, on_progress: ProgressSink, on_piece: PieceSink | None = None) -> Any:
        """Return the answer to one job; see `Service.run` and `Shift`."""
        if self._shift is None:
            raise AssertionError("wait_ready comes first")
        running.adopt(asyncio.get_running_loop())
        return await self._shift.run(job, on_progress=on_progress, on_piece=on_piece)

    def on_death(self, callback: Callable[[WorkerError], None]) -> None:
        """Have `callback` called, from any thread, when the WebUI is gone for good; at once if it already is."""
        with self._died:
            self._tell = callback
            death = self._death
        if death is not None:
            callback(death)

    def close(self) -> None:
        """End the WebUI and whatever it started."""
        if self._shift is not None:
            self._shift.close()
        if self._keeper is not None:
            self._keeper.close()
        elif self._backend is not None:
            self._backend.close()
        if self._operating is not None:
            self._operating.close()
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
    def keeper(self) -> Keeper:
        """The owner of the WebUI's life."""
        if self._keeper is None:
            raise AssertionError("spawn comes first")
        return self._keeper

    def drain(self) -> None:
        """Take note that no more jobs come, and give those that run their grace. Call it from any thread."""
        self.keeper.drain()
        if self._shift is not None:
            self._shift.stop()

    def health(self) -> dict[str, Any]:
        """Return the worker's state and what was wrong last; see `Keeper.health`."""
        return self.keeper.health()

    def gpu_line(self) -> tuple[int, float]:
        """Return how many jobs wait for the GPU, and the seconds for which it was somebody's."""
        return (self._service.gpu.waiting, self._service.gpu.busy_s) if self._service is not None else (0, 0.0)

    def webui_memory(self) -> dict[str, int]:
        """Return ``{ram_bytes, vram_bytes}`` of the WebUI as last measured, what is known of it."""
        return self._service.memory if self._service is not None else {}

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

    def _lost(self, why: str) -> None:
        if self._keeper is not None:  # else it ended at once, which whoever waits for it sees
            self._keeper.lost(why)

    def _ended(self, death: WorkerError) -> None:
        with self._died:
            self._death = death
            tell = self._tell
        if tell is not None:
            tell(death)

    def _models(self) -> ModelStore:
        if self._store is None:
            from worker.models.store import ModelStore  # noqa: PLC0415 - not needed with WEBUI_URL until it is ready

            self._store = ModelStore(self.settings)
        return self._store


def _demo_models(settings: Settings) -> Path:
    return (settings.out_dir / "stand-in" / "models").absolute()
