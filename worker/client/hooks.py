"""Results that come as a webhook."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from worker.client.answer import State, read_state
from worker.serving import webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def read_webhook(
    secret: str | None, headers: Mapping[str, str], body: bytes, *, now: Callable[[], float] = time.time
) -> State:
    """Return the job that a webhook tells of, once it is proven to come from the worker.

    Args:
        secret: The worker's WEBHOOK_SECRET; None: not checked (RunPod's own webhooks carry no signature).
        headers: Of the request.
        body: Its bytes, unchanged.
        now: Seconds since the epoch.

    Raises:
        BadSignature: it can't be trusted.
    """
    if secret is not None:
        webhook.verify(secret, headers, body, now=now())
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise webhook.BadSignature("the body is not a JSON object")
    return read_state(told)
