"""Results that come as a webhook."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from worker.client.job_state import JobState, read_state
from worker.serving.webhook_signature import BadSignature, verify

if TYPE_CHECKING:
    from collections.abc import Mapping


def read_webhook(secret: str | None, headers: Mapping[str, str], body: bytes) -> JobState:
    """Return the job that a webhook tells of, once it is proven to come from the worker.

    Call it when the request has just come: a signature holds for five minutes.

    Args:
        secret: The worker's WEBHOOK_SECRET; None: not checked (RunPod's own webhooks carry no signature).
        headers: Of the request.
        body: Its bytes, unchanged.

    Raises:
        BadSignature: it can't be trusted.
    """
    if secret is not None:
        verify(secret, headers, body)
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise BadSignature("the body is not a JSON object")
    return read_state(told)
