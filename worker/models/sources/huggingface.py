"""Hugging Face: files of repositories, by the hub's own library where that is better.

`huggingface_hub` takes a moment to import and is imported with the first use. Files in Xet storage are fetched by it
(it knows the storage's protocol); others by ranges like any URL, with the size and SHA-256 that the hub names.
"""

from __future__ import annotations

import importlib
import os
import re
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from worker.models.format.filenames import BadReference, relative_path, split_ending
from worker.models.sources.http_file import Busy, Denied, HttpFile
from worker.models.sources.model_source import Locator, Offer, SourceKind, bearer
from worker.models.sources.web import split_url
from worker.net.addresses import AllowList
from worker.net.fetch import Fetcher
from worker.net.fetch_errors import FetchError, Unreachable, passes
from worker.net.guard import Guard
from worker.net.header_values import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from huggingface_hub.errors import HfHubHTTPError

    from worker.models.sources.model_source import Connection
    from worker.net.fetch import FetchLimits

BASE = "https://huggingface.co"
HOSTS = ("huggingface.co", "hf.co")
_SHA256_DIGITS = 64
_MAX_LISTED = 20
_QUIET = ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_UPDATE_CHECK")
"""Variables that keep the hub's library from requests of its own, read when it is imported."""
_NO_OWNERS = {"api", "datasets", "docs", "spaces"}
"""First parts of the hub's addresses that are no owner of model repositories."""
_REPO = re.compile(r"(?!.*(?:--|\.\.|\.git$))[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")


@dataclass(frozen=True, slots=True)
class HuggingFace(Locator):
    """A file of a Hugging Face repository; without a path the repository, of which a file has yet to be chosen."""

    repo: str
    path: str
    revision: str | None = None

    absent_hint = (
        "Check repository, revision and path; a private repository is hidden from accounts that may not read it: "
        "set HF_TOKEN or give the model a token."
    )

    @property
    def refused_hint(self) -> str:  # type: ignore[override]  # depends on whether it names a file
        """Advice when the hub's library refuses, or the reference names no file."""
        if not self.path:
            return f"Name one file: {self.key}/<file>."
        return "Unset HF_HUB_OFFLINE for the worker, or put the file on the volume."

    @property
    def access_hint(self) -> str:  # type: ignore[override]  # names the repository
        """Advice when the hub denies access."""
        return (
            f"Accept the model's terms on huggingface.co/{self.repo} and set HF_TOKEN or give the model a token of "
            "that account."
        )

    @property
    def key(self) -> str:
        """``hf:org/repo[@revision]/path``."""
        return f"hf:{self.repo}{f'@{self.revision}' if self.revision else ''}{f'/{self.path}' if self.path else ''}"

    @property
    def file_name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


def parse(text: str, revision: str | None) -> HuggingFace | None:
    """Return the locator of a page or download address, or of ``hf:org/repo[@revision][/path]``."""
    if text.lower().startswith(("hf:", "hf://", "huggingface:")):
        return _short(text.split(":", 1)[1].removeprefix("//"), revision)
    parts = split_url(text)
    if parts is None or (parts.hostname or "").lower().removeprefix("www.") not in HOSTS:
        return None
    match = re.fullmatch(r"/([^/]+/[^/]+)(?:/(?:resolve|blob|raw)/([^/]+)/(.+)|(?:/tree/([^/]+))?/?)", parts.path)
    if match is None or match[1].split("/")[0] in _NO_OWNERS:
        return None
    repo, file = unquote(match[1]), unquote(match[3] or "")
    named = unquote(match[2] or match[4] or "main")  # a revision's own slash is written as %2F
    if revision is not None and named not in {revision, "main"}:
        raise BadReference(f"names different revisions: the address says {named!r}, version says {revision!r}")
    return _checked(repo, file, revision or named)


def _short(rest: str, revision: str | None) -> HuggingFace:
    parts = rest.rstrip("/").split("/")
    if len(parts) < 2:  # noqa: PLR2004  org, repo
        raise BadReference(
            "Hugging Face references are hf:org/repo/path/file.safetensors, revision as org/repo@revision"
        )
    repo, _, inline = parts[1].partition("@")
    if revision is not None and inline not in {"", revision}:
        raise BadReference(f"names different revisions: {inline!r}, and version says {revision!r}")
    return _checked(f"{parts[0]}/{repo}", "/".join(parts[2:]), revision or inline or None)


def _checked(repo: str, path: str, revision: str | None) -> HuggingFace:
    if not all(_REPO.fullmatch(part) for part in repo.split("/")):
        raise BadReference(f"{repo!r} is not a Hugging Face repository")
    if revision is not None and (".." in revision or not re.fullmatch(r"[\w./-]{1,200}", revision)):
        raise BadReference(f"{revision!r} is not a revision")
    return HuggingFace(repo, relative_path(path) if path else "", None if revision == "main" else revision)


class HuggingFaceSource:
    """The hub.

    Args:
        fetcher: Guarded HTTP.
        limits: Time limits of one request.
        token: Sent to `base` only.
        base: The hub's address.
        by_library: Whether the hub's library downloads a file; default: when it is in Xet storage.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        limits: FetchLimits,
        *,
        token: str | None = None,
        base: str = BASE,
        by_library: Callable[[HubFile], bool] = lambda file: file.xet,
    ) -> None:
        self.fetcher = fetcher
        self._limits = limits
        self._token = token
        self._base = base
        self._by_library = by_library

    def offer(self, locator: HuggingFace, *, token: str | None) -> Offer:
        """Return a file with the size and hash that the hub states."""
        token = token or self._token
        if not locator.path:
            files = _model_files(locator, base=self._base, token=token)
            told = f"has {', '.join(files[:_MAX_LISTED])}" if files else "has no model files"
            more = f" and {len(files) - _MAX_LISTED} more" if len(files) > _MAX_LISTED else ""
            raise Denied(f"names no file of the repository, which {told}{more}", status=0, host=_host(self._base))
        about = _ask(locator, base=self._base, token=token, timeout_s=self._limits.read_s)
        remote = HttpFile(self.fetcher, lambda: about.url, secrets=bearer(token), limits=self._limits)
        offer = Offer(remote, name=locator.file_name, size=about.size, sha256=about.sha256)
        if not self._by_library(about):
            return offer
        pinned = replace(locator, revision=about.commit or locator.revision)  # so that nothing changes on the way
        download = partial(_download, pinned, base=self._base, token=token, timeout_s=self._limits.read_s)
        return replace(offer, library=lambda into, on_bytes: download(into, on_bytes=on_bytes))


def connect(connection: Connection) -> HuggingFaceSource:
    """Return the source."""
    settings = connection.settings
    secret = settings.hf_token
    token = secret.get_secret_value() if secret else None
    mirror = settings.hf_endpoint
    if mirror is None or _host(mirror) in HOSTS:
        return HuggingFaceSource(connection.fetcher, connection.limits, token=token)
    guard = Guard(AllowList.of((*settings.allowed_hosts, urlsplit(mirror).netloc.rpartition("@")[2])))
    return HuggingFaceSource(
        Fetcher(guard, connections=connection.connections),
        connection.limits,
        token=token if settings.hf_endpoint_token else None,
        base=mirror,
    )


@dataclass(frozen=True, slots=True)
class HubFile:
    """The hub's facts about a file.

    Attributes:
        url: Where its bytes are, behind the hub's own redirect.
        size: Bytes.
        sha256: For large files the hub's tag is their SHA-256; None for small ones.
        commit: The commit that the revision means now.
        xet: It is in Xet storage.
    """

    url: str
    size: int | None
    sha256: str | None
    commit: str | None
    xet: bool


def _library(module: str = "huggingface_hub") -> Any:
    """Return a module of the hub's library, imported with the first use: it is slow to import."""
    for variable in _QUIET:
        os.environ.setdefault(variable, "1")
    return importlib.import_module(module)


def _host(base: str) -> str:
    return (urlsplit(base).hostname or "").removeprefix("www.")


def _model_files(locator: HuggingFace, *, base: str, token: str | None) -> list[str]:
    """Return the model files of a repository, sorted. Raises `FetchError`."""
    api = _library().HfApi(endpoint=base, token=token or False)
    listed = _translated(locator, base, lambda: api.list_repo_files(locator.repo, revision=locator.revision))
    return sorted(str(name) for name in listed if split_ending(str(name))[1])


def _ask(locator: HuggingFace, *, base: str, token: str | None, timeout_s: float) -> HubFile:
    """Return what the hub says about a file. Raises `FetchError`."""
    hub = _library()
    url = _translated(
        locator, base, lambda: hub.hf_hub_url(locator.repo, locator.path, revision=locator.revision, endpoint=base)
    )
    facts = _translated(
        locator, base, lambda: hub.get_hf_file_metadata(url, token=token or False, timeout=timeout_s, endpoint=base)
    )
    tag = facts.etag or ""
    return HubFile(
        url=url,
        size=facts.size,
        sha256=tag if len(tag) == _SHA256_DIGITS else None,
        commit=facts.commit_hash,
        xet=facts.xet_file_data is not None,
    )


def _download(
    locator: HuggingFace, into: Path, *, base: str, token: str | None, on_bytes: Callable[[int], None], timeout_s: float
) -> Path:
    """Let the hub's own library fetch a file below the folder `into`; return its path.

    Args:
        locator: The file, with the commit as revision so that nothing changes on the way.
        into: A folder of ours; an interrupted download is resumed from there.
        base: The hub's address.
        token: For that address only.
        on_bytes: Called with the bytes that came since the last call; what it raises ends the download.
        timeout_s: For the hub's answers.

    Raises:
        FetchError: it failed.
    """
    from pathlib import Path  # noqa: PLC0415  only needed here at run time

    hub = _library()
    from huggingface_hub.utils.tqdm import tqdm  # noqa: PLC0415  as above

    class Bar(tqdm):
        """The hub's progress bar, turned into calls."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]  # the library has no types

        def update(self, n: float | None = 1) -> None:
            on_bytes(int(n or 0))

    found = _translated(
        locator,
        base,
        lambda: hub.hf_hub_download(
            locator.repo,
            locator.path,
            revision=locator.revision,
            local_dir=into,
            endpoint=base,
            token=token or False,
            tqdm_class=Bar,
            etag_timeout=timeout_s,
        ),
    )
    return Path(found)


def _translated(locator: HuggingFace, base: str, call: Callable[[], Any]) -> Any:
    """Return what `call` returns; turn the hub's errors into `FetchError` without their texts, which hold addresses."""
    host, errors = _host(base), _library("huggingface_hub.errors")
    unreachable: tuple[type[Exception], ...] = (*_transport_errors(), ConnectionError, TimeoutError)
    try:
        return call()
    except FetchError:
        raise
    except errors.OfflineModeIsEnabled:
        raise Denied("the hub's library is in offline mode (HF_HUB_OFFLINE)", status=0, host=host) from None
    except errors.GatedRepoError:
        raise Denied(f"{locator.repo} is gated", status=403, host=host) from None
    except (
        errors.HFValidationError,  # a name that no repository can have
        errors.RepositoryNotFoundError,
        errors.EntryNotFoundError,
        errors.RevisionNotFoundError,
    ) as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise Unreachable(f"{host} could not be reached") from None
        raise Denied(f"{host} knows no {locator.key}", status=404, host=host) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if passes(status):
            raise Busy(f"{host} answered HTTP {status}", retry_after_s=_asked(error), status=status) from None
        raise Denied(f"{host} answered HTTP {status}", status=status, host=host) from None
    except RuntimeError:  # hf_xet's word for whatever went wrong
        raise Unreachable("the hub's library for Xet storage failed") from None
    except unreachable as error:
        raise Unreachable(f"{host} could not be reached ({type(error).__name__})") from None


def _asked(error: HfHubHTTPError) -> float | None:
    return retry_after(error.response.headers.get("Retry-After", ""), time.time())


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return what the hub's library lets through when the network fails: httpx's errors, or those of its successor."""
    found: list[type[Exception]] = []
    for name in ("httpx", "httpx2"):
        try:
            found.append(importlib.import_module(name).HTTPError)
        except ImportError:
            continue
    return tuple(found)


HUGGING_FACE = SourceKind(HuggingFace, parse, connect, has_versions=True)
