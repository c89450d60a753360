"""Work in a daemon thread while the caller waits for something else."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def run_in_background(work: Callable[[], T]) -> Future[T]:
    """Run `work` in a thread that does not keep the process alive, and return its future.

    An executor's threads are joined when the interpreter ends; a download that hangs must not hold up an exit.

    If `work` imports modules, the caller should import nothing new before the result is there: Python resolves a
    circular import that two threads enter from two ends by handing one of them a half-initialised module.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # work that has begun can't be cancelled

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="background", daemon=True).start()
    return future
