"""Hugging Face: files of repositories, by the hub's own library where that is better.

`huggingface_hub` takes a moment to import and is imported with the first use. Files in Xet storage are fetched by it
(it knows the storage's protocol); others by ranges like any URL, with the size and SHA-256 that the hub names.
"""

from __future__ import annotations

import importlib
import re
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from worker.models.format.filenames import BadReference, relative_path
from worker.models.sources.base import Locator, Offer, SourceKind, bearer
from worker.models.sources.http import Busy, Denied, HttpFile, retry_after
from worker.models.sources.web import split_url
from worker.net.errors import FetchError, Unreachable, passes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from huggingface_hub.errors import HfHubHTTPError

    from worker.models.sources.base import Connection
    from worker.net.fetch import Fetcher, FetchLimits

BASE = "https://huggingface.co"
HOSTS = ("huggingface.co", "hf.co")
_SHA256_DIGITS = 64
_REPO = re.compile(r"(?!.*(?:--|\.\.|\.git$))[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")


@dataclass(frozen=True, slots=True)
class HuggingFace(Locator):
    """A file of a Hugging Face repository."""

    repo: str
    path: str
    revision: str | None = None

    absent_hint = (
        "Check repository, revision and path; a private repository is hidden from accounts that may not read it: "
        "set HF_TOKEN or give the model a token."
    )
    refused_hint = "Unset HF_HUB_OFFLINE for the worker, or put the file on the volume."

    @property
    def access_hint(self) -> str:  # type: ignore[override]  # names the repository
        """What to do when the hub denies access."""
        return (
            f"Accept the model's terms on huggingface.co/{self.repo} and set HF_TOKEN or give the model a token of "
            "that account."
        )

    @property
    def key(self) -> str:
        """``hf:org/repo[@revision]/path``."""
        return f"hf:{self.repo}{f'@{self.revision}' if self.revision else ''}/{self.path}"

    @property
    def file_name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]


def parse(text: str, revision: str | None) -> HuggingFace | None:
    """Return the locator of a file's page or download address, or of ``hf:org/repo[@revision]/path``."""
    if text.lower().startswith(("hf:", "hf://", "huggingface:")):
        return _short(text.split(":", 1)[1].removeprefix("//"), revision)
    parts = split_url(text)
    if parts is None or (parts.hostname or "").lower().removeprefix("www.") not in HOSTS:
        return None
    match = re.fullmatch(r"/([^/]+/[^/]+)/(?:resolve|blob|raw)/([^/]+)/(.+)", parts.path)
    if match is None:
        return None
    repo, named, file = (unquote(part) for part in match.groups())  # a revision's own slash is written as %2F
    if revision is not None and named not in {revision, "main"}:
        raise BadReference(f"names different revisions: the address says {named!r}, version says {revision!r}")
    return _checked(repo, file, revision or named)


def _short(rest: str, revision: str | None) -> HuggingFace:
    parts = rest.split("/")
    if len(parts) < 3 or not parts[2]:  # noqa: PLR2004  org, repo, file
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
    return HuggingFace(repo, relative_path(path), None if revision == "main" else revision)


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
        self._fetcher = fetcher
        self._limits = limits
        self._token = token
        self._base = base
        self._by_library = by_library

    def offer(self, locator: HuggingFace, *, token: str | None) -> Offer:
        """Return a file with the size and hash that the hub states."""
        token = token or self._token
        about = _ask(locator, base=self._base, token=token, timeout_s=self._limits.read_s)
        remote = HttpFile(self._fetcher, lambda: about.url, secrets=bearer(token), limits=self._limits)
        offer = Offer(remote, name=locator.file_name, size=about.size, sha256=about.sha256)
        if not self._by_library(about):
            return offer
        pinned = replace(locator, revision=about.commit or locator.revision)  # so that nothing changes on the way
        download = partial(_download, pinned, base=self._base, token=token, timeout_s=self._limits.read_s)
        return replace(offer, library=lambda into, on_bytes: download(into, on_bytes=on_bytes))


def connect(connection: Connection) -> HuggingFaceSource:
    """Return the source."""
    secret = connection.settings.hf_token
    token = secret.get_secret_value() if secret else None
    return HuggingFaceSource(connection.fetcher, connection.limits, token=token)


@dataclass(frozen=True, slots=True)
class HubFile:
    """What the hub says about a file.

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


def _ask(locator: HuggingFace, *, base: str, token: str | None, timeout_s: float) -> HubFile:
    """Return what the hub says about a file. Raises `FetchError`."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url  # noqa: PLC0415  slow to import

    url = _translated(locator, lambda: hf_hub_url(locator.repo, locator.path, revision=locator.revision, endpoint=base))
    facts = _translated(
        locator, lambda: get_hf_file_metadata(url, token=token or False, timeout=timeout_s, endpoint=base)
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

    from huggingface_hub import hf_hub_download  # noqa: PLC0415  slow to import
    from huggingface_hub.utils.tqdm import tqdm  # noqa: PLC0415  as above

    class Bar(tqdm):
        """The hub's progress bar, turned into calls."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]  # the library has no types

        def update(self, n: float | None = 1) -> None:
            on_bytes(int(n or 0))

    found = _translated(
        locator,
        lambda: hf_hub_download(
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


def _translated(locator: HuggingFace, call: Callable[[], Any]) -> Any:
    """Return what `call` returns; turn the hub's errors into `FetchError` without their texts, which hold addresses."""
    from huggingface_hub import errors  # noqa: PLC0415  slow to import

    unreachable: tuple[type[Exception], ...] = (*_transport_errors(), ConnectionError, TimeoutError)
    try:
        return call()
    except FetchError:
        raise
    except errors.OfflineModeIsEnabled:
        raise Denied("the hub's library is in offline mode (HF_HUB_OFFLINE)", status=0, host="huggingface.co") from None
    except errors.GatedRepoError:
        raise Denied(f"{locator.repo} is gated", status=403, host="huggingface.co") from None
    except (
        errors.HFValidationError,  # a name that no repository can have
        errors.RepositoryNotFoundError,
        errors.EntryNotFoundError,
        errors.RevisionNotFoundError,
    ) as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            raise Unreachable("huggingface.co could not be reached") from None
        raise Denied(f"huggingface.co knows no {locator.key}", status=404, host="huggingface.co") from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if passes(status):
            raise Busy(f"huggingface.co answered HTTP {status}", retry_after_s=_asked(error), status=status) from None
        raise Denied(f"huggingface.co answered HTTP {status}", status=status, host="huggingface.co") from None
    except RuntimeError:  # hf_xet's word for whatever went wrong
        raise Unreachable("the hub's library for Xet storage failed") from None
    except unreachable as error:
        raise Unreachable(f"huggingface.co could not be reached ({type(error).__name__})") from None


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


HUGGING_FACE = SourceKind(HuggingFace, parse, connect)
