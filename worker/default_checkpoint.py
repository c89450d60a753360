"""The choice of the checkpoint that a worker starts with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import BootFailed, WorkerError
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.models.store import ModelStore
    from worker.models.volume.model import LocalModel
    from worker.settings import ModelKind, Settings

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


def checkpoint(settings: Settings, store: Callable[[], ModelStore], *, demo: bool) -> Path | None:
    """Return the file that the WebUI has to load at start, fetched where the volume lacks it; None: it is not ours.

    Args:
        settings: The worker's.
        store: The model store, asked for only where it takes more than a look into the folder.
        demo: The stand-in fills the folder.

    Raises:
        BootFailed: there is none, or it can't be had.
    """
    if settings.webui_url is not None:
        return None
    folder = settings.folder("checkpoint")
    if demo and not settings.default_checkpoint:
        return folder / DEMO_CHECKPOINT
    plain = plain_file(folder, settings.default_checkpoint)
    if plain is not None:
        return plain
    models = store()
    from worker.contract.types.model_ref import ModelRef  # noqa: PLC0415 - as for the store

    names = models.volume.names("checkpoint")
    from worker.models.volume.hf_cache import only_cached  # noqa: PLC0415 - as for the store

    cached = only_cached("checkpoint", models.hf_caches) if not settings.default_checkpoint and not names else None
    wanted = cached.repo if cached is not None else default_checkpoint(settings.default_checkpoint, names)
    found = models.find(ModelRef(name=wanted), "checkpoint", path="DEFAULT_CHECKPOINT")
    if found is None and (settings.default_checkpoint or settings.in_production):
        found = _fetched(wanted, folder, models)
    if found is None:
        raise BootFailed(
            f"there is no checkpoint in {folder}",
            hint="Put one there, or set DEFAULT_CHECKPOINT to one that can be fetched, such as 'Deliberate v6'.",
        )
    return found.path


def _fetched(name: str, folder: Path, models: ModelStore) -> LocalModel:
    """Return the default checkpoint after fetching it to the volume, once among all workers.

    Raises:
        BootFailed: nobody knows it, or it can't be had.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BootFailed(f"there is no {folder}, and it can't be made: {error.strerror}") from error
    get_logger("worker").info("the default checkpoint is not on the volume; fetching it", checkpoint=name)
    import asyncio  # noqa: PLC0415 - as for the store

    from worker.contract.types.model_ref import ModelRef  # noqa: PLC0415 - as for the store

    wanted: list[tuple[str, ModelRef, ModelKind]] = [("DEFAULT_CHECKPOINT", ModelRef(name=name), "checkpoint")]
    try:
        return asyncio.run(models.prepare(wanted))[0]
    except WorkerError as error:
        files = ", ".join(models.volume.names("checkpoint")) or "none"
        raise BootFailed(
            f"the default checkpoint {name!r} can't be had: {error.message}",
            hint=error.hint or f"Set DEFAULT_CHECKPOINT to one that is there: {files}",
        ) from error
