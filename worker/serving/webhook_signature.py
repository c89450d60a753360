"""Signatures of posted results, by Standard Webhooks (standardwebhooks.com, version 1)."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from standardwebhooks import Webhook, WebhookVerificationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "whsec_"


class BadSignature(Exception):
    """A message that does not come from the holder of the secret, was changed, or is old; says which."""


def signature_headers(secret: str, message_id: str, body: bytes, *, now: float) -> dict[str, str]:
    """Return the headers that prove `body` to anyone who knows `secret`.

    Args:
        secret: ``whsec_`` and base64, or any text.
        message_id: Names the message, so that a receiver can recognise a repeat.
        body: The bytes that are posted.
        now: Seconds since the epoch.
    """
    sent_at = datetime.fromtimestamp(int(now), tz=timezone.utc)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": _webhook(secret).sign(message_id, sent_at, body.decode()),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> None:
    """Check a message that was received just now.

    Raises:
        BadSignature: it can't be trusted.
    """
    try:
        _webhook(secret).verify(body, dict(headers), json_parse=False)
    except WebhookVerificationError as error:
        raise BadSignature(str(error)) from None
    except ValueError:  # the library lets malformed signatures and bodies raise
        raise BadSignature("Invalid Signature Headers") from None


def _webhook(secret: str) -> Webhook:
    """Return the signer for `secret`; a text that is not base64 behind the prefix is the key as it stands."""
    key = b""
    if secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except binascii.Error:
            key = b""
    return Webhook(key or secret.encode())
