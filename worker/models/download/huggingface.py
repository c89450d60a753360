"""Download of one file by Hugging Face's own library: it writes the file itself, so the hash is a second pass."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING

from worker.models.download.context import DownloadedFile, Stopped
from worker.models.download.partial import DiskFull
from worker.models.sources import huggingface as hub
from worker.models.volume.availability import SPACE_ERRORS
from worker.models.volume.integrity import FrontHash
from worker.net.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.models.download.partial import Partial
    from worker.models.download.progress import DownloadState
    from worker.models.reference.locators import HuggingFace
    from worker.models.sources.base import Offer


def bring(
    file: HuggingFace,
    offer: Offer,
    partial: Partial,
    folder: Path,
    *,
    base: str,
    timeout_s: float,
    state: DownloadState,
    check: Callable[[int, int, int | None], bool],
    tell: Callable[[int, int | None], None],
) -> DownloadedFile:
    """Fetch `file` into `folder`, put it in the partial's place, hash it.

    Args:
        file: With the commit as revision, so that nothing changes on the way.
        offer: Its size, hash and token.
        partial: Takes the finished file.
        folder: Of this file alone; an interrupted download is resumed from there, a whole one leaves nothing there.
        base: The hub's address.
        timeout_s: For the hub's answers.
        state: Can stop it.
        check: See `worker.models.transfer.Transfer`.
        tell: Called with bytes there and in all.

    Raises:
        FetchError: it failed.
        DiskFull: there is no room; nothing is left in `folder`.
        Stopped: told to.
    """
    came = 0

    def on_bytes(count: int) -> None:
        nonlocal came
        if state.stop.is_set():
            raise Stopped
        came += count
        tell(came, offer.size)

    try:
        found = hub.download(file, folder, base=base, token=offer.token, on_bytes=on_bytes, timeout_s=timeout_s)
    except OSError as error:
        if error.errno in SPACE_ERRORS:
            shutil.rmtree(folder, ignore_errors=True)
            raise DiskFull from None
        raise Unreachable(f"the hub's library failed: {errno.errorcode.get(error.errno or 0, 'OSError')}") from None
    partial.take_file(found)
    shutil.rmtree(folder, ignore_errors=True)
    size = os.fstat(partial.fd).st_size
    hashing = FrontHash(check)
    while hashing.done < size:
        hashing.advance(partial.fd, size, offer.size)
    partial.finish(size)
    return DownloadedFile(size, hashing.hexdigest(), offer.sha256)
