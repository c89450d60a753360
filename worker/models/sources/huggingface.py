"""Hugging Face: what the hub says about a file, its own transfer where that is better, and its cache on the volume.

`huggingface_hub` takes a moment to import and is imported with the first use. Files in Xet storage are fetched by it
(it knows the storage's protocol); others by ranges like any URL, with the size and SHA-256 that the hub names.
"""

from __future__ import annotations

import importlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.models.sources.http import Busy, Denied, retry_after
from worker.net.errors import FetchError, Unreachable, passes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from huggingface_hub.errors import HfHubHTTPError

    from worker.models.reference.locators import HuggingFace


BASE = "https://huggingface.co"
_SHA256_DIGITS = 64


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


def ask(locator: HuggingFace, *, base: str, token: str | None, timeout_s: float) -> HubFile:
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


def download(
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
