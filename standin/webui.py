"""The whole program's state in one place: what the real one keeps in its `shared` module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import upscalers
from .checkpoints import Checkpoints
from .embeddings import Embeddings
from .faults import Faults
from .loading import CheckpointLoader
from .memory import Memory
from .model import Model
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
        self.memory = Memory(self.faults, knobs.vram_gib)
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
        loader = CheckpointLoader(self.faults, knobs.load_seconds)
        self.model = Model(self.options, self.checkpoints, self.vaes, self.embeddings, loader)
        self.sampling = Sampling(self, knobs.step_seconds, knobs.grain)
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
