"""From what a client wrote to where a file is: pure reading of names, URLs, CivitAI, Hugging Face and S3 forms.

A locator says where bytes come from. Its `key` identifies the source in the registry, in leases and in logs: it never
holds a secret (a URL's query is represented by a hash), and the same source always has the same key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from worker.models.reference.filenames import short_hash

if TYPE_CHECKING:
    from worker.contract.models import ModelRef

CIVITAI_HOSTS = ("civitai.com", "civitai.green", "civitai.red", "civitai.work")
HF_HOSTS = ("huggingface.co", "hf.co")
_CHOICES = ("type", "format", "size", "fp")
"""The query parameters by which CivitAI tells the files of one version apart."""


class BadReference(ValueError):
    """The text has the form of a locator but can't be one; the message says why."""


@dataclass(frozen=True, slots=True)
class Web:
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


@dataclass(frozen=True, slots=True)
class Civitai:
    """A CivitAI model version (or the newest of a model), with the query that chooses among its files."""

    version: int | None
    model: int | None = None
    choices: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """``civitai:<version>`` or ``civitai:model/<model>``, plus the choices."""
        name = f"civitai:{self.version}" if self.version is not None else f"civitai:model/{self.model}"
        return f"{name}?{urlencode(self.choices)}" if self.choices else name


@dataclass(frozen=True, slots=True)
class HuggingFace:
    """A file of a Hugging Face repository."""

    repo: str
    path: str
    revision: str | None = None

    @property
    def key(self) -> str:
        """``hf:org/repo[@revision]/path``."""
        return f"hf:{self.repo}{f'@{self.revision}' if self.revision else ''}/{self.path}"

    @property
    def file_name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object of an S3 bucket."""

    bucket: str
    path: str

    @property
    def key(self) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.path}"

    @property
    def file_name(self) -> str:
        """The last part of the key."""
        return self.path.rsplit("/", 1)[-1]


Locator = Web | Civitai | HuggingFace | S3Object

_NUMBER = re.compile(r"\d{1,12}")
_AIR = re.compile(
    r"(?:urn:air:[\w.-]+:[\w.-]+:)civitai:(?P<model>\d{1,12})(?:@(?P<version>\d{1,12}))?(?:[:.?].*)?", re.IGNORECASE
)
_CIVITAI = re.compile(
    r"civitai:(?:(?:model|models)/(?P<page>\d{1,12})|(?P<first>\d{1,12})(?:@(?P<second>\d{1,12}))?)(?:\?(?P<query>.*))?",
    re.IGNORECASE,
)
_SIGNATURES = {
    "awsaccesskeyid", "ossaccesskeyid", "googleaccessid", "security-token", "signature", "expires", "key-pair-id",
    "policy", "authorization",
}  # fmt: skip
"""Parameters of signed addresses, besides those that begin like S3's: of CloudFront, B2 and older forms."""
_AZURE = {"sig", "se", "sp", "st", "sv", "sr", "spr", "sip", "skoid", "sktid", "skt", "ske", "sks", "skv"}
"""The same of Azure's, short enough to mean something else where there is no ``sig``."""
_HF_REPO = re.compile(r"(?!.*(?:--|\.\.|\.git$))[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def parse_locator(text: str, *, revision: str | None = None) -> Locator | None:
    """Return where `text` points to, or None when it is a plain name.

    Raises:
        BadReference: it starts like a locator (``hf:``, ``s3://``, ``https://`` …) but is not a whole one.
    """
    lowered = text.lower()
    if lowered.startswith(("http://", "https://")):
        return _web(text, revision)
    if lowered.startswith("urn:air:"):
        return _air(text)
    if lowered.startswith("civitai:"):
        return _civitai(text, revision)
    if lowered.startswith(("hf:", "hf://", "huggingface:")):
        return _hugging_face(text.split(":", 1)[1].removeprefix("//"), revision)
    if lowered.startswith("s3://"):
        return _s3(text)
    if "://" in text:
        raise BadReference(
            f"addresses start with https://, http://, s3://, hf: or civitai:, not {text.split(':', 1)[0]}:"
        )
    return None


def locate(ref: ModelRef) -> Locator | None:
    """Return the locator of a reference (its url, else its name read as one), or None for a plain name."""
    if ref.url is not None:
        found = parse_locator(ref.url, revision=ref.revision)
        if found is None:
            raise BadReference("url must start with https://, http://, s3://, hf: or civitai:")
        return found
    return parse_locator(ref.name or "", revision=ref.revision)


def token_for(ref: ModelRef, locator: Locator, first: Locator) -> str | None:
    """Return a reference's token if it is for `locator`: for the site that it names itself, else that of `first`."""
    return own_token(ref) if _site(locate(ref) or first) == _site(locator) else None


def own_token(ref: ModelRef) -> str | None:
    """Return the token that a reference brings: in its field, or in the address as CivitAI's own examples write it."""
    if ref.token is not None:
        return ref.token.get_secret_value()
    if not isinstance(locate(ref), Civitai):
        return None
    inside = dict(parse_qsl((ref.url or ref.name or "").partition("?")[2])).get("token", "")
    return inside if inside.isascii() and inside.isprintable() and inside else None


def _site(locator: Locator) -> tuple[str, ...]:
    """Return what a token is given for: one site, or the scheme, host and port of an address."""
    if not isinstance(locator, Web):
        return (type(locator).__name__,)
    parts = urlsplit(locator.url)
    return parts.scheme, (parts.hostname or "").lower(), str(parts.port)


def plain_name(ref: ModelRef) -> str | None:
    """Return the name that the client gave the model, or None when it gave only an address."""
    if ref.name is None or (ref.url is None and parse_locator(ref.name, revision=ref.revision) is not None):
        return None
    return ref.name


def relative_path(name: str) -> str:
    """Return `name` as a path below a model folder.

    Raises:
        BadReference: it would leave the folder.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in {"", "."}]
    if ".." in parts or name.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:[\\/]", name):
        raise BadReference("a model's name must stay inside the model folder: no absolute path, no '..'")
    if not parts:
        raise BadReference("is no file name")
    return "/".join(parts)


def _web(text: str, revision: str | None) -> Locator:
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").lower()
        _ = parts.port
    except ValueError as error:
        raise BadReference(f"is not a URL: {error}") from None
    if not host:
        raise BadReference("is not a URL: it names no host")
    if parts.username is not None or parts.password is not None:
        raise BadReference("must not hold a user name or password; use the token field")
    bare = host.removeprefix("www.")
    if bare in CIVITAI_HOSTS:
        page = _civitai_page(parts.path, parts.query, revision)
        if page is not None:
            return page
    if bare in HF_HOSTS:
        file = _hugging_face_page(parts.path, revision)
        if file is not None:
            return file
    return Web(urlunsplit((parts.scheme.lower(), parts.netloc, parts.path or "/", parts.query, "")))


def _civitai_page(path: str, query: str, revision: str | None) -> Civitai | None:
    download = re.fullmatch(r"/api/download/models/(\d{1,12})/?", path)
    if download:
        return Civitai(int(download[1]), choices=_choices(query))
    by_version = re.fullmatch(r"/(?:api/v1/)?model-versions/(\d{1,12})/?", path)
    if by_version:
        return Civitai(int(by_version[1]), choices=_choices(query))
    page = re.match(r"/(?:api/v1/)?models/(\d{1,12})(?:/|$)", path)
    if page:
        named = dict(parse_qsl(query)).get("modelVersionId") or revision or ""
        return Civitai(int(named) if _NUMBER.fullmatch(named) else None, int(page[1]), _choices(query))
    return None


def _choices(query: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in parse_qsl(query) if name in _CHOICES))


def _civitai(text: str, revision: str | None) -> Civitai:
    match = _CIVITAI.fullmatch(text)
    if match is None:
        raise BadReference("CivitAI references are civitai:<version id>, civitai:<model id>@<version id> or a page URL")
    choices = _choices(match["query"] or "")
    named = revision if revision and _NUMBER.fullmatch(revision) else None
    if match["page"]:
        return Civitai(int(named) if named else None, int(match["page"]), choices)
    if match["second"]:
        return Civitai(int(match["second"]), int(match["first"]), choices)
    if named:
        return Civitai(int(named), int(match["first"]), choices)
    return Civitai(int(match["first"]), choices=choices)


def _air(text: str) -> Civitai:
    match = _AIR.fullmatch(text)
    if match is None:
        raise BadReference("of AIRs only CivitAI's are known: urn:air:<base>:<type>:civitai:<model id>@<version id>")
    return Civitai(int(match["version"]) if match["version"] else None, int(match["model"]))


def _hugging_face_page(path: str, revision: str | None) -> HuggingFace | None:
    match = re.fullmatch(r"/([^/]+/[^/]+)/(?:resolve|blob|raw)/([^/]+)/(.+)", path)
    if match is None:
        return None
    repo, named, file = (unquote(part) for part in match.groups())  # a revision's own slash is written as %2F
    return _checked_hf(repo, file, revision or named)


def _hugging_face(rest: str, revision: str | None) -> HuggingFace:
    parts = rest.split("/")
    if len(parts) < 3 or not parts[2]:  # noqa: PLR2004  org, repo, file
        raise BadReference(
            "Hugging Face references are hf:org/repo/path/file.safetensors, revision as org/repo@revision"
        )
    repo, _, inline = parts[1].partition("@")
    return _checked_hf(f"{parts[0]}/{repo}", "/".join(parts[2:]), revision or inline or None)


def _checked_hf(repo: str, path: str, revision: str | None) -> HuggingFace:
    if not all(_HF_REPO.fullmatch(part) for part in repo.split("/")):
        raise BadReference(f"{repo!r} is not a Hugging Face repository")
    if revision is not None and (".." in revision or not re.fullmatch(r"[\w./-]{1,200}", revision)):
        raise BadReference(f"{revision!r} is not a revision")
    return HuggingFace(repo, relative_path(path), None if revision == "main" else revision)


def _s3(text: str) -> S3Object:
    bucket, _, path = text[len("s3://") :].partition("/")
    if not _BUCKET.fullmatch(bucket) or not path or path.endswith("/"):
        raise BadReference("S3 references are s3://bucket/key")
    return S3Object(bucket, path)


def _unsigned(query: str) -> list[tuple[str, str]]:
    """Return the parameters of a query but those of a signature over the path: what it leads to does not change."""
    pairs = [(name, value, name.lower()) for name, value in parse_qsl(query)]
    signed = _SIGNATURES | _AZURE if any(lowered == "sig" for _, _, lowered in pairs) else _SIGNATURES
    kept = [pair for pair in pairs if pair[2] not in signed and not pair[2].startswith(("x-amz-", "x-goog-", "x-oss-"))]
    return [(name, value) for name, value, _ in kept]
