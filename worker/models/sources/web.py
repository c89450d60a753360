"""Files at plain http(s) addresses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from worker.models.format.filenames import BadReference, short_hash
from worker.models.sources.http_file import HttpFile
from worker.models.sources.model_source import Locator, Offer, SourceKind, bearer

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from worker.models.sources.model_source import Connection
    from worker.net.fetch import Fetcher, FetchLimits

_SIGNATURES = {
    "awsaccesskeyid", "ossaccesskeyid", "googleaccessid", "security-token", "signature", "expires", "key-pair-id",
    "policy", "authorization",
}  # fmt: skip
"""Parameters of signed addresses, besides those that begin like S3's: of CloudFront, B2 and older forms."""
_AZURE = {"sig", "se", "sp", "st", "sv", "sr", "spr", "sip", "skoid", "sktid", "skt", "ske", "sks", "skv"}
"""The same of Azure's, short enough to mean something else where there is no ``sig``."""
_DRIVE = "Google Drive shows a page in place of large files; use hf:, s3:// or a direct link."
_SHARED = "That is the page of a share; use the link that its download button leads to, hf: or s3://."
_PAGES = {
    "drive.google.com": _DRIVE,
    "docs.google.com": _DRIVE,
    "drive.usercontent.google.com": _DRIVE,
    "1drv.ms": _SHARED,
    "onedrive.live.com": _SHARED,
    "sharepoint.com": _SHARED,
    "mediafire.com": _SHARED,
    "wetransfer.com": _SHARED,
    "we.tl": _SHARED,
    "pixeldrain.com": "Pixeldrain gives the file itself at /api/file/<id>.",
    "mega.nz": "MEGA's files can be read by its own programs alone; use hf:, s3:// or a direct link.",
    "dropbox.com": "Dropbox sends the file itself when the address ends in dl=1.",
    "github.com": "Use the address of the raw file (raw.githubusercontent.com) or of a release's file.",
    "gitlab.com": "Use the address of the raw file (/-/raw/ in place of /-/blob/).",
    "modelscope.cn": "Use the address of the file itself (/resolve/<revision>/<path>).",
    "huggingface.co": "That is a repository's page; name the file: hf:org/repo/path/file.safetensors.",
    "hf.co": "That is a repository's page; name the file: hf:org/repo/path/file.safetensors.",
    **dict.fromkeys(
        ("civitai.com", "civitai.green", "civitai.red", "civitai.work"),
        "Use the address of the model's page, or civitai:<version id>.",
    ),
}
"""Sites whose addresses often lead to a page about the file, and what works there."""


@dataclass(frozen=True, slots=True)
class Web(Locator):
    """A file at an http(s) URL; `url` may hold a secret in its query, `key` does not."""

    url: str

    @property
    def key(self) -> str:
        """``https://host/path`` with a hash in the place of the query."""
        parts = urlsplit(self.url)
        query = _unsigned(parts.query)
        tail = f"?{short_hash(urlencode(sorted(query)))}" if query else ""
        host = (parts.hostname or "").lower()
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{host}{port}{parts.path}{tail}"

    @property
    def file_name(self) -> str:
        """The last part of the path, decoded; may be empty."""
        return unquote(urlsplit(self.url).path).rsplit("/", 1)[-1]

    @property
    def site(self) -> tuple[str, ...]:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return parts.scheme, (parts.hostname or "").lower(), str(parts.port)

    @property
    def page_hint(self) -> str:
        """Advice for sites that are known to send a page in place of the file; "" for others."""
        host = (urlsplit(self.url).hostname or "").lower()
        return next((hint for site, hint in _PAGES.items() if host == site or host.endswith(f".{site}")), "")


def split_url(text: str) -> SplitResult | None:
    """Return the parts of an http(s) URL; None for any other text.

    Raises:
        BadReference: it is a broken URL, or holds credentials.
    """
    if not text.lower().startswith(("http://", "https://")):
        return None
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise BadReference(f"is not a URL: {error}") from None
    if not parts.hostname:
        raise BadReference("is not a URL: it names no host")
    if parts.username is not None or parts.password is not None:
        raise BadReference("must not hold a user name or password; use the token field")
    return parts


def parse(text: str, _revision: str | None) -> Web | None:
    """Return the locator of an http(s) address."""
    parts = split_url(text)
    if parts is None:
        return None
    return Web(urlunsplit((parts.scheme.lower(), parts.netloc, parts.path or "/", parts.query, "")))


class WebSource:
    """Any web server.

    Args:
        fetcher: Guarded HTTP.
        limits: Time limits of one request.
    """

    def __init__(self, fetcher: Fetcher, limits: FetchLimits) -> None:
        self.fetcher = fetcher
        self._limits = limits

    def offer(self, locator: Web, *, token: str | None) -> Offer:
        """Return the file at an address; no request is made."""
        remote = HttpFile(self.fetcher, lambda: locator.url, secrets=bearer(token), limits=self._limits)
        return Offer(remote, name=locator.file_name or None)


def connect(connection: Connection) -> WebSource:
    """Return the source."""
    return WebSource(connection.fetcher, connection.limits)


def _unsigned(query: str) -> list[tuple[str, str]]:
    """Return the parameters of a query but those of a signature over the path: what it leads to does not change."""
    pairs = [(name, value, name.lower()) for name, value in parse_qsl(query)]
    signed = _SIGNATURES | _AZURE if any(lowered == "sig" for _, _, lowered in pairs) else _SIGNATURES
    kept = [pair for pair in pairs if pair[2] not in signed and not pair[2].startswith(("x-amz-", "x-goog-", "x-oss-"))]
    return [(name, value) for name, value, _ in kept]


WEB = SourceKind(Web, parse, connect)
