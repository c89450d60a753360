"""Access to the gallery: the key, a cookie for pictures, and guards against foreign pages."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request
    from starlette.responses import Response

COOKIE = "gallery_session"
TOKEN_HEADER = "X-Gallery-Token"  # noqa: S105 - a header's name

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; img-src 'self' blob: data:; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class RequestDenied(Exception):
    """A request that is answered with an HTTP error.

    Attributes:
        status: The HTTP status.
        message: One sentence for a person.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Access:
    """The guards of one server.

    Args:
        key: What has to be sent once; None: nothing, and only names of this machine and bare addresses are answered, so
            that no foreign page can reach the gallery through a name of its own.
        hosts: Further names of this server.
    """

    def __init__(self, key: str | None, hosts: Collection[str] = ()) -> None:
        self._key = key
        self._hosts = {"localhost", *hosts}
        self._secret = secrets.token_bytes(32)

    def check_host(self, request: Request) -> None:
        """Refuse names that are not this server's."""
        if self._key is not None:
            return
        try:
            name = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
            if name in self._hosts:
                return
            ipaddress.ip_address(name)
        except ValueError:
            raise RequestDenied(
                421, "this server does not answer to that name; start it with a key, or with --allow-host"
            ) from None

    def check_read(self, request: Request) -> None:
        """Refuse requests without the key or the cookie that it was exchanged for."""
        if self._key is not None and not (self._has_cookie(request) or self.has_key(request)):
            raise RequestDenied(401, "send Authorization: Bearer with the key (HTTP_API_KEY)")

    def check_write(self, request: Request) -> None:
        """Refuse, besides, requests that other sites' pages can send."""
        self.check_read(request)
        if not hmac.compare_digest(request.headers.get(TOKEN_HEADER, "").encode(), self.token.encode()):
            raise RequestDenied(403, f"send the token of api/session as {TOKEN_HEADER}")
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
            raise RequestDenied(403, "the request comes from another site's page")

    def has_key(self, request: Request) -> bool:
        """Return whether the request carries the key itself."""
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        return self._key is not None and hmac.compare_digest(given.strip().encode(), self._key.encode())

    def give_cookie(self, request: Request, response: Response) -> None:
        """Set the cookie, which the page's images need: they can't send a header."""
        is_https = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
        path = request.scope.get("root_path") or "/"
        response.set_cookie(COOKIE, self._sign("session"), path=path, httponly=True, samesite="strict", secure=is_https)

    @property
    def token(self) -> str:
        """The token that has to be in a header of every request that changes something."""
        return self._sign("write")

    def _has_cookie(self, request: Request) -> bool:
        return hmac.compare_digest(request.cookies.get(COOKIE, "").encode(), self._sign("session").encode())

    def _sign(self, purpose: str) -> str:
        return hmac.new(self._secret, purpose.encode(), hashlib.sha256).hexdigest()
