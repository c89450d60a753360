"""The whole program's state in one place: what the real one keeps in its `shared` module."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import upscalers
from .checkpoints import Checkpoint, Checkpoints, Weights
from .embeddings import Embeddings
from .errors import WebUIError
from .faults import Faults
from .model import Model, load_weights
from .networks import Networks
from .options import Options
from .prompts import Styles
from .record import Record
from .sampling import Sampling
from .scripts import Extensions, extension_options
from .state import FifoLock, State
from .vae import Vaes

if TYPE_CHECKING:
    import argparse

    from .knobs import Knobs


LOUD = ("DEBUG", "INFO")


class WebUI:
    """Everything that requests share. Building it reads folders and `config.json`, no model."""

    def __init__(self, flags: argparse.Namespace, knobs: Knobs) -> None:
        self.flags = flags
        self.knobs = knobs
        self.faults = Faults(knobs.faults)
        self.record = Record(knobs.record_file)
        self.queue = FifoLock()
        self.state = State(says=str(flags.loglevel).upper() in LOUD)
        hidden = extension_options(knobs.extensions)
        self.options = Options(Path(flags.ui_settings_file), hidden=hidden, frozen=flags.freeze_settings)
        self.options.load()
        self.extensions = Extensions(knobs.extensions, flags, self.options, knobs.annotators)
        self.checkpoints = Checkpoints(flags)
        self.vaes = Vaes(flags)
        self.networks = Networks(flags)
        self.embeddings = Embeddings(flags.embeddings_dir)
        self.styles = Styles(flags.styles_file)
        self.upscalers = upscalers.installed(flags)
        self.upscaled = upscalers.UpscaledPictures(self.options)
        self.model = Model(self.options, self.checkpoints, self.vaes, self.embeddings, self._load)
        self.sampling = Sampling(self, knobs.step_seconds, knobs.grain)
        self.ballast: list[bytes] = []
        """Memory held by the fault `memory-growth`."""
        self._first_load = True
        self.refresh_checkpoints()
        self.vaes.refresh()
        self.networks.refresh()
        self.styles.refresh()

    def refresh_checkpoints(self) -> None:
        """Reads the folders again; an existing `--ckpt` becomes the option again, as in the real one."""
        chosen = self.checkpoints.refresh()
        if chosen is not None:
            self.options.data["sd_model_checkpoint"] = chosen

    def has_upscaler(self, name: object) -> bool:
        """Return whether the list has an upscaler of this name."""
        return any(upscaler.name == name for upscaler in self.upscalers)

    def settle(self) -> None:
        """After a job: memory grows where a fault says so."""
        growth = self.faults.take("memory-growth")
        if growth is not None:
            self.ballast.append(b"\1" * int(growth.number("mb", 50) * 2**20))

    def memory(self) -> dict[str, Any]:
        """Return the answer of `GET /sdapi/v1/memory`."""
        page = {
            name: int(value.split()[0]) * 1024
            for name, _, value in (line.partition(":") for line in _meminfo())
            if value.strip()
        }
        total, free = page.get("MemTotal", 0), page.get("MemAvailable", 0)
        ram = {"free": free, "used": total - free, "total": total}
        if not self.knobs.vram_gib:
            return {"ram": ram, "cuda": {"error": "unavailable"}}
        size = int(self.knobs.vram_gib * 2**30)
        used = min(size, 2 * 2**30 + sum(map(len, self.ballast)))
        active = {"current": used, "peak": used}
        cuda = {"system": {"free": size - used, "used": used, "total": size}, "active": active, "allocated": active}
        return {
            "ram": ram,
            "cuda": {**cuda, "reserved": active, "inactive": active, "events": {"retries": 0, "oom": 0}},
        }

    def _load(self, checkpoint: Checkpoint) -> Weights:
        """Loads a checkpoint, taking its time and obeying the faults."""
        first, self._first_load = self._first_load, False
        if self.faults.take("never-loads"):
            threading.Event().wait()
        slow = self.faults.take("slow-load")
        threading.Event().wait(slow.number("seconds", 5) if slow else self.knobs.load_seconds)
        failing = self.faults.take("load-fails", where=first)
        if failing is not None:
            raise WebUIError(
                failing.text("error", "RuntimeError"),
                failing.text("message", "PytorchStreamReader failed reading zip archive"),
            )
        if self.faults.take("load-oom", where=not first):
            print(f"Loading weights [None] from {checkpoint.path}", flush=True)
            raise WebUIError(
                "RuntimeError",
                f"unable to mmap 4265146304 bytes from file <{checkpoint.path}>: Cannot allocate memory (12)",
            )
        return load_weights(checkpoint)


def _meminfo() -> list[str]:
    path = Path("/proc/meminfo")
    return path.read_text(encoding="ascii").splitlines() if path.exists() else []
