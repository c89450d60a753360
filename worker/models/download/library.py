"""Download of one file by its source's own client library: it writes the file itself, so the hash is a second pass."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

from worker.models.download.context import DownloadedFile, Stopped
from worker.models.download.partial import DiskFull
from worker.models.volume.availability import SPACE_ERRORS
from worker.models.volume.integrity import FrontHash
from worker.net.fetch_errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.models.download.download_progress import DownloadState
    from worker.models.download.partial import Partial
    from worker.models.sources.model_source import Offer


def download(
    offer: Offer,
    partial: Partial,
    folder: Path,
    *,
    state: DownloadState,
    check: Callable[[int, int, int | None], bool],
    on_bytes: Callable[[int, int | None], None],
) -> DownloadedFile:
    """Download an offer by its library into `folder`, move the file to the partial's place, hash it.

    Args:
        offer: With a library.
        partial: Takes the finished file.
        folder: Of this file alone; an interrupted download is resumed from there, a whole one leaves nothing there.
        state: Can stop it.
        check: See `worker.models.download.transfer.Transfer`.
        on_bytes: Called with bytes there and in all.

    Raises:
        FetchError: it failed.
        DiskFull: there is no room; nothing is left in `folder`.
        Stopped: told to.
    """
    if offer.library is None:
        raise ValueError("the offer has no library")
    came = 0

    def count(bytes_: int) -> None:
        nonlocal came
        if state.stop.is_set():
            raise Stopped
        came += bytes_
        on_bytes(came, offer.size)

    try:
        found = offer.library(folder, count)
    except OSError as error:
        if error.errno in SPACE_ERRORS:
            shutil.rmtree(folder, ignore_errors=True)
            raise DiskFull from None
        raise Unreachable(f"the source's library failed: {errno.errorcode.get(error.errno or 0, 'OSError')}") from None
    partial.take_file(found)
    shutil.rmtree(folder, ignore_errors=True)
    size = os.fstat(partial.fd).st_size
    hashing = FrontHash(check)
    while hashing.done < size:
        hashing.advance(partial.fd, size, offer.size)
    partial.finish(size)
    return DownloadedFile(size, hashing.hexdigest(), offer.sha256)
