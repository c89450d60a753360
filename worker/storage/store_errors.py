"""Errors of a store: the code, whether a retry can help, and what a person should do. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from worker.net.fetch_errors import Refused

_RETRYABLE_CODES = frozenset(
    {
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "RequestTimeout",
        "InternalError",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "BadDigest",
        "XAmzContentSHA256Mismatch",
        "IncompleteBody",
        "OperationAborted",
        "ReadBackDiffers",
    }
)
_BUSY, _SERVER_ERRORS = frozenset({408, 425, 429}), 500
_HINTS = {
    "AccessDenied": "The key may not write to this bucket; it needs s3:PutObject (and s3:GetObject for URLs).",
    "InvalidAccessKeyId": "The store does not know this access key.",
    "ExpiredToken": "The temporary keys have expired; send new ones.",
    "SignatureDoesNotMatch": "The secret key does not belong to the access key, or the region is another.",
    "AuthorizationHeaderMalformed": "The region is probably wrong; set BUCKET_REGION (or s3Config.region).",
    "PermanentRedirect": "The bucket lives in another region; use that region's endpoint.",
    "NoSuchBucket": "The bucket does not exist at this endpoint.",
    "RequestTimeTooSkewed": "The clocks of the worker and the store differ too much.",
    "EntityTooLarge": "The store takes no objects of this size.",
    "Refused": "A job's own store has to be at a public address, unless the operator lists its host in ALLOW_HOSTS.",
    "Certificate": "The store's TLS certificate does not fit its host.",
    "Redirect": "Give the address that it leads to (https:// in place of http://, or another host).",
}
_BY_STATUS = {401: "AccessDenied", 403: "AccessDenied", 404: "NoSuchBucket", 413: "EntityTooLarge"}
"""Meanings of a status when a proxy in front of the store gives no code."""
_LINK_HINT = (
    'Links need s3:GetObject for the key, or a public bucket under BUCKET_PUBLIC_URL; `return: "none"` gives keys '
    "without links, and BUCKET_LINK_CHECK=off is for links that open for your clients only."
)
_RETRY_HINT = "The store may be busy or out of reach; send the job again later."


@dataclass(frozen=True, slots=True)
class StoreFailure:
    """One failed request.

    Attributes:
        code: The store's own code (`NoSuchBucket`), else what kind of failure it was.
        status: HTTP status, None when no answer came.
        message: A sentence without addresses, keys or signatures.
        retryable: Another try may succeed.
        tries: How often it was tried.
        dead_link: The store has taken it, but the link to it does not open.
    """

    code: str
    status: int | None
    message: str
    retryable: bool
    tries: int = 1
    dead_link: bool = False

    def after(self, tries: int) -> StoreFailure:
        """Return the same failure, tried that often."""
        return replace(self, tries=tries)

    @property
    def hint(self) -> str:
        """Advice for a person."""
        if self.dead_link:
            return _LINK_HINT
        known = self.code if self.code in _HINTS else _BY_STATUS.get(self.status or 0, "")
        return _HINTS.get(known, _RETRY_HINT if self.retryable else "Check the store's settings.")


class StoreError(Exception):
    """A request that can't be helped by trying again, or was tried often enough."""

    def __init__(self, failure: StoreFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def read_failure(error: BaseException) -> StoreFailure:
    """Return what `error`, as boto3 raised it, means. Knows its classes by name, so that nothing has to be imported."""
    known = getattr(error, "failure", None)
    return known if isinstance(known, StoreFailure) else _read(error)


def _read(error: BaseException) -> StoreFailure:
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        return _answered(response)
    for cause in _causes(error):
        if isinstance(cause, Refused):
            return StoreFailure("Refused", None, str(cause), retryable=False)
        if type(cause).__name__ == "SSLCertVerificationError" or "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return StoreFailure("Certificate", None, "its TLS certificate is not accepted", retryable=False)
    name = type(error).__name__
    if name == "ReadBackDiffers":
        return StoreFailure(name, None, "it holds other bytes than were sent", retryable=True)
    if name in ("ConnectTimeoutError", "ReadTimeoutError"):
        return StoreFailure("Timeout", None, "it did not answer in time", retryable=True)
    network = isinstance(error, OSError) or name in {
        "ConnectionClosedError",
        "EndpointConnectionError",
        "HTTPClientError",
        "IncompleteReadError",
        "ProxyConnectionError",
        "ResponseStreamingError",
        "SSLError",
    }
    return StoreFailure(
        "Unreachable" if network else name, None, "it can't be reached" if network else name, retryable=network
    )


def _answered(response: dict[str, Any]) -> StoreFailure:
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    code = str(response["Error"].get("Code") or status)
    return StoreFailure(
        code,
        status,
        f"it answered {status} {code}" if code != str(status) else f"it answered {status}",
        retryable=passes(code, status),
    )


def passes(code: str, status: int | None) -> bool:
    """Return whether what a store answers may be another thing the next time."""
    busy = status is not None and (status in _BUSY or status >= _SERVER_ERRORS)
    return code in _RETRYABLE_CODES or (busy and code != "NotImplemented")


def _causes(error: BaseException) -> list[BaseException]:
    """Return `error` and everything that led to it, botocore's own way of keeping a cause included."""
    found: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        one = pending.pop()
        if not isinstance(one, BaseException) or any(one is seen for seen in found):
            continue
        found.append(one)
        kept = getattr(one, "kwargs", None)
        pending += [
            one.__cause__,
            one.__context__,
            getattr(one, "reason", None),
            kept.get("error") if isinstance(kept, dict) else None,
        ]
    return found
