"""How the checkpoint that a worker starts with comes near: into memory, or to a local disk."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.models.readahead import ReadAhead

if TYPE_CHECKING:
    from pathlib import Path

    from worker.models.staging import Staging
    from worker.settings import Settings

log = logging.getLogger(__name__)


def bring(checkpoint: Path, settings: Settings, *, may_copy: bool) -> Staging | None:
    """Begin to read the checkpoint into memory, or to copy it where the settings name a local disk; return at once.

    Args:
        checkpoint: The file, in the folder that the settings name.
        settings: The worker's.
        may_copy: Whether the WebUI can be given another folder than that.

    Returns:
        The local copies; None without.
    """
    if settings.staging_dir is not None and may_copy:
        from worker.models.staging import Staging  # noqa: PLC0415 - only where copies are wanted

        folder, disk = settings.folder("checkpoint"), settings.staging_dir
        try:
            staging = Staging(folder, disk, floor=settings.staging_free_bytes)
        except OSError as error:
            log.warning("no local copies of checkpoints: STAGING_DIR can't be used (%s)", error.strerror)
        else:
            staging.use(checkpoint)
            return staging
    if settings.model_readahead:
        ReadAhead(checkpoint).start()
    return None
