"""SHA-256 of a file that is still arriving: reads what was just written, in order, while it is in the page cache."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_BLOCK = 1024 * 1024


class FrontHash:
    """The digest of a file's beginning.

    Args:
        check: Called as ``check(fd, front, size)`` until it returns True; raises to refuse the file.
    """

    def __init__(self, check: Callable[[int, int, int | None], bool]) -> None:
        self._check = check
        self._checked = False
        self._digest = hashlib.sha256()
        self._view = memoryview(bytearray(_BLOCK))
        self.done = 0
        """Bytes hashed."""

    def reset(self) -> None:
        """Begin again."""
        self._digest, self._checked, self.done = hashlib.sha256(), False, 0

    def advance(self, fd: int, front: int, size: int | None) -> None:
        """Hash one block more, at most up to `front`; look at the beginning as soon as there is enough of it."""
        if not self._checked and front > 0:
            self._checked = self._check(fd, front, size)
        if self.done < front:
            count = os.preadv(fd, [self._view[: front - self.done]], self.done)
            self._digest.update(self._view[:count])
            self.done += count

    def hexdigest(self) -> str:
        """Return the digest of the first `done` bytes."""
        return self._digest.hexdigest()
