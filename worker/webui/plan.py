"""How a WebUI comes to be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from worker.webui.names.weights import Weights
    from worker.webui.process import Program


class View(Protocol):
    """Makes the folder of checkpoints that the WebUI is given agree with the true one, and tells true places."""

    def sync(self) -> None:
        """Make the folders agree."""

    def true(self, filename: str) -> str:
        """Return the true place of a file that the WebUI lists."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a backend comes to be.

    Attributes:
        name: ``a1111`` or ``stand-in``, told in every answer.
        url: Where it listens.
        boot_timeout, idle_timeout, connect_timeout, stall_timeout: Seconds; see the settings of these names.
        preview_every: Seconds between two looks at the progress of a job with live previews.
        program: What to run; None: it is running already.
        options_file, options: Written before the program starts.
        checkpoint: The model file it has to load; None: whatever it has loaded.
        needs_gpu: A GPU was promised, so a WebUI that finds none is of no use.
        log_prompts: Prompts may appear in the log.
        weights: Upscaler and face restoration weights on this machine; None: unknown.
    """

    name: str
    url: str
    boot_timeout: float
    idle_timeout: float
    connect_timeout: float
    stall_timeout: float = 120.0
    preview_every: float = 2.0
    program: Program | None = None
    options_file: Path | None = None
    options: Mapping[str, Any] | None = None
    checkpoint: Path | None = None
    checkpoint_name: str | None = None
    weights: Weights | None = None
    needs_gpu: bool = False
    log_prompts: bool = True

    @property
    def kept_models(self) -> int:
        """How many checkpoints and LoRAs the WebUI may keep in memory beside those of the job."""
        told = self.options or {}
        return int(told.get("sd_checkpoints_limit", 1)) + int(told.get("lora_in_memory_limit", 0))
