"""Failures of reading a URL.

Not errors of a job: whoever fetches knows which field of the job the URL came from, and says so.
"""

from __future__ import annotations

_BUSY = frozenset({408, 425, 429})
_SERVER_ERRORS = 500
_NEVER = frozenset({501, 505})


def passes(status: int) -> bool:
    """Return whether an answer with this status may be another the next time: proxies have statuses of their own."""
    return status in _BUSY or (status >= _SERVER_ERRORS and status not in _NEVER)


class FetchError(Exception):
    """A URL could not be read. The message names the host, never a query string, a token or user information."""

    retryable = False


class Refused(FetchError):
    """The URL, or one it redirects to, is not allowed: scheme, credentials, address, downgrade, too many redirects.

    Attributes:
        hint: What to do about it.
    """

    def __init__(self, message: str, *, hint: str = "Check the address.") -> None:
        super().__init__(message)
        self.hint = hint


class Unreachable(FetchError):
    """No connection, a broken one, a body shorter than announced, a certificate that does not fit."""

    retryable = True


class TooSlow(FetchError):
    """Connecting, one read or the whole took longer than its limit."""

    retryable = True


class TooLarge(FetchError):
    """The body is longer than the limit."""


class BadStatus(FetchError):
    """The server answered, but not with what was asked for.

    Attributes:
        status: The HTTP status.
        retry_after_s: Its `Retry-After` in seconds, when it gave one.
    """

    def __init__(self, message: str, *, status: int, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.retryable = passes(status)
