"""The whole program's state in one place: what the real one keeps in its `shared` module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from standin.api.record import Record
from standin.faults.memory import Memory
from standin.faults.switches import Faults
from standin.generation.prompts import Styles
from standin.generation.sampling import Sampling
from standin.generation.state import FifoLock, State
from standin.models import upscalers
from standin.models.checkpoints import Checkpoints
from standin.models.embeddings import Embeddings
from standin.models.loaded_model import Model
from standin.models.loading import CheckpointLoader
from standin.models.networks import Networks
from standin.models.vae import Vaes
from standin.options import Options
from standin.scripts import Extensions, extension_options

if TYPE_CHECKING:
    import argparse

    from standin.settings import Settings


LOUD = ("DEBUG", "INFO")


class WebUI:
    """Everything that requests share. Building it reads folders and `config.json`, no model."""

    def __init__(self, flags: argparse.Namespace, settings: Settings) -> None:
        self.flags = flags
        self.settings = settings
        self.faults = Faults(settings.faults)
        self.record = Record(settings.record_file)
        self.memory = Memory(self.faults, settings.vram_gib)
        self.queue = FifoLock()
        self.state = State(says=str(flags.loglevel).upper() in LOUD)
        hidden = extension_options(settings.extensions)
        self.options = Options(Path(flags.ui_settings_file), hidden=hidden, frozen=flags.freeze_settings)
        self.options.load()
        self.extensions = Extensions(settings.extensions, flags, self.options, settings.annotators)
        self.checkpoints = Checkpoints(flags)
        self.vaes = Vaes(flags)
        self.networks = Networks(flags)
        self.embeddings = Embeddings(flags.embeddings_dir)
        self.styles = Styles(flags.styles_file)
        self.upscalers = upscalers.installed(flags)
        self.upscaled = upscalers.UpscaledPictures(self.options)
        loader = CheckpointLoader(self.faults, settings.load_seconds)
        self.model = Model(self.options, self.checkpoints, self.vaes, self.embeddings, loader)
        self.sampling = Sampling(self, settings.step_seconds, settings.grain)
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
