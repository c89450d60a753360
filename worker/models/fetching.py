"""From a choice without a file to a file with its final name, from the first source that gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import DownloadRefused, NoSpace, VolumeUnavailable, WorkerError
from worker.models.attempt import Attempt
from worker.models.references import token_for

if TYPE_CHECKING:
    from worker.models.order import Means, Order


def bring(order: Order, means: Means) -> str:
    """Fetch a model; return its key in the registry.

    Raises:
        DownloadFailed, DownloadRefused, HashMismatch, ModelNotFound, NoSpace: from the last source tried, or the last
            of those that may give it another time.
        VolumeUnavailable: the folder for it is gone; it is not made anew where the volume was.
        TakenOver: another worker went on with it.
        Stopped: nobody wants it any more.
    """
    means.inventory.presence.require(order.choice.kind, path=order.path)
    worst: WorkerError | None = None
    locators = order.choice.locators
    for locator in locators:
        try:
            return Attempt(means, order, locator, token_for(order.ref, locator, locators[0])).run()
        except (NoSpace, VolumeUnavailable):
            raise
        except WorkerError as error:
            if worst is None or error.retryable or not worst.retryable:
                worst = error
    if worst is None:
        raise DownloadRefused(f"{order.path}: nothing is known about where {order.ref.shown!r} is")
    raise worst
