"""What the disk refuses at a start of the WebUI, as the start's end."""

from __future__ import annotations

import errno
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.errors import BootFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_errors() -> Iterator[None]:
    """Raise BootFailed in place of OSError."""
    try:
        yield
    except OSError as error:
        raise BootFailed(
            f"can't write {error.filename or 'what the WebUI needs'}: {error.strerror}",
            hint="Give the container more disk."
            if error.errno in FULL
            else "The folder for temporary files has to be writable.",
        ) from error
