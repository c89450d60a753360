"""From a choice without a file to a file with its final name, from the first source that gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import DownloadRefused, NoSpace, WorkerError
from worker.models.attempt import Attempt

if TYPE_CHECKING:
    from worker.models.order import Means, Order


def bring(order: Order, means: Means) -> str:
    """Fetch a model; return its key in the registry.

    Raises:
        DownloadFailed, DownloadRefused, HashMismatch, ModelNotFound, NoSpace: from the last source tried.
        TakenOver: another worker went on with it.
        Stopped: nobody wants it any more.
    """
    last: WorkerError | None = None
    for place, locator in enumerate(order.choice.locators):
        token = order.ref.token.get_secret_value() if order.ref.token and place == 0 else None
        try:
            return Attempt(means, order, locator, token).run()
        except NoSpace:
            raise
        except WorkerError as error:
            last = error
    if last is None:
        raise DownloadRefused(f"{order.path}: nothing is known about where {order.ref.ref[:200]!r} is")
    raise last
