"""Which checkpoint a worker starts with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import BootFailed

if TYPE_CHECKING:
    from collections.abc import Sequence

FALLBACK_CHECKPOINT = "Deliberate v6"
"""The catalog's first checkpoint: what a worker without models and without DEFAULT_CHECKPOINT starts with."""
DEMO_CHECKPOINT = "Deliberate_v6.safetensors"


def plain_file(folder: Path, name: str) -> Path | None:
    """Return the safetensors file that `name` simply is, with or without its ending; None where it takes more to tell.

    The model store knows every other way to say it, and takes 0.1 s to import before the WebUI can be spawned.
    """
    if not name or Path(name).name != name:
        return None
    path = folder / (name if name.endswith(".safetensors") else f"{name}.safetensors")
    return path.absolute() if path.is_file() else None


def default_checkpoint(setting: str, files: Sequence[str]) -> str:
    """Return the checkpoint to start with: the setting, else the only file there is, else the catalog's first.

    Raises:
        BootFailed: several files and nothing that says which.
    """
    if setting:
        return setting
    if len(files) == 1:
        return files[0]
    if files and not any(Path(file).name == DEMO_CHECKPOINT for file in files):
        raise BootFailed(
            f"there are {len(files)} checkpoints and DEFAULT_CHECKPOINT says nothing",
            hint=f"Set DEFAULT_CHECKPOINT to one of: {', '.join(sorted(files))}",
        )
    return FALLBACK_CHECKPOINT
