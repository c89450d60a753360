"""Waiting for what tells nobody: files, other processes, servers that have to be asked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
PAUSE_S = 0.01


def wait_until(condition: Callable[[], T], seconds: float = 30.0) -> T:
    """Return the first value of `condition` that is true; fail where none comes within so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not happen within {seconds:g} s"
        time.sleep(PAUSE_S)  # what it looks at wakes nobody
    return found
