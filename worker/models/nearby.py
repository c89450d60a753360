"""How the checkpoint that a worker starts with comes to a local disk."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from worker.models.staging import Staging

if TYPE_CHECKING:
    from pathlib import Path

    from worker.settings import Settings

log = logging.getLogger(__name__)


def copies(checkpoint: Path, folder: Path, settings: Settings) -> Staging | None:
    """Begin to copy the checkpoint to the local disk that the settings name; return at once.

    Args:
        checkpoint: The file, in `folder`.
        folder: Of all checkpoints.
        settings: The worker's.

    Returns:
        The local copies; None where that disk can't be used.
    """
    if settings.staging_dir is None:
        return None
    try:
        staging = Staging(folder, settings.staging_dir, floor=settings.staging_free_bytes)
    except OSError as error:
        log.warning("no local copies of checkpoints: STAGING_DIR can't be used (%s)", error.strerror)
        return None
    staging.use(checkpoint)
    return staging
