"""Signing and checking posted results, by Standard Webhooks (standardwebhooks.com, 1.0): who sent this, and when."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "whsec_"
TOLERANCE_S = 300.0
_MOST_DIGITS = 12


class BadSignature(Exception):
    """The message is not from whom it says, was changed, or is old; says which."""


def headers(secret: str, message_id: str, body: bytes, *, now: float) -> dict[str, str]:
    """Return the headers that prove `body` to whoever knows `secret`.

    Args:
        secret: ``whsec_`` and base64, or any text.
        message_id: Names the message, so that a receiver can tell a repeat.
        body: As it is posted.
        now: Seconds since the epoch.
    """
    stamp = str(int(now))
    signed = _sign(secret, message_id, stamp, body)
    return {"webhook-id": message_id, "webhook-timestamp": stamp, "webhook-signature": f"v1,{signed}"}


def verify(secret: str, sent: Mapping[str, str], body: bytes, *, now: float) -> None:
    """Check a message that came with the headers `sent`.

    Raises:
        BadSignature: it can't be trusted.
    """
    given = {name.lower(): value for name, value in sent.items()}
    missing = [name for name in ("webhook-id", "webhook-timestamp", "webhook-signature") if name not in given]
    if missing:
        raise BadSignature(f"the header {missing[0]} is missing")
    stamp = given["webhook-timestamp"]
    if not stamp.isascii() or not stamp.isdigit() or len(stamp) > _MOST_DIGITS:
        raise BadSignature("webhook-timestamp is no number of seconds")
    if abs(now - int(stamp)) > TOLERANCE_S:
        raise BadSignature(f"it was sent {now - int(stamp):.0f} s ago")
    expected = _sign(secret, given["webhook-id"], stamp, body)
    for signature in given["webhook-signature"].split():
        version, _, value = signature.partition(",")
        if version == "v1" and hmac.compare_digest(value.encode(), expected.encode()):
            return
    raise BadSignature("no signature fits")


def _sign(secret: str, message_id: str, stamp: str, body: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True) if secret.startswith(PREFIX) else b""
    except binascii.Error:
        key = b""
    digest = hmac.new(key or secret.encode(), f"{message_id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return base64.b64encode(digest).decode()
