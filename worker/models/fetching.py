"""From a choice without a file to a file with its final name, from the first source that gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import DownloadRefused, NoSpace, VolumeUnavailable, WorkerError
from worker.models.attempt import Attempt

if TYPE_CHECKING:
    from worker.models.order import Means, Order


def bring(order: Order, means: Means) -> str:
    """Fetch a model; return its key in the registry.

    Raises:
        DownloadFailed, DownloadRefused, HashMismatch, ModelNotFound, NoSpace: from the last source tried.
        VolumeUnavailable: the folder for it is gone; it is not made anew where the volume was.
        TakenOver: another worker went on with it.
        Stopped: nobody wants it any more.
    """
    means.inventory.presence.require(order.choice.kind, path=order.path)
    last: WorkerError | None = None
    for place, locator in enumerate(order.choice.locators):
        token = order.ref.token.get_secret_value() if order.ref.token and place == 0 else None
        try:
            return Attempt(means, order, locator, token).run()
        except (NoSpace, VolumeUnavailable):
            raise
        except WorkerError as error:
            last = error
    if last is None:
        raise DownloadRefused(f"{order.path}: nothing is known about where {order.ref.ref[:200]!r} is")
    raise last
