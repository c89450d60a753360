"""Doing what is slow while something else is waited for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Beside(Generic[T]):
    """Work in a thread that does not keep the process alive: imports, mostly.

    Whoever imports in such work should import nothing new between construction and `wait`: Python resolves a circular
    import that two threads enter from two ends by handing one of them a half-made module.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._result: list[T] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._do, name="beside", daemon=True)
        self._thread.start()

    def wait(self) -> T:
        """Return what the work returned or raise what it raised, once it has."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._result[0]

    def _do(self) -> None:
        try:
            self._result.append(self._work())
        except BaseException as failure:  # noqa: BLE001 - raised in the thread that waits
            self._failure = failure
