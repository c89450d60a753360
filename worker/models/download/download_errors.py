"""Errors of failed downloads, in words that say what to do; pure.

The texts name hosts and source keys, which hold no secrets, and the field of the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import DownloadFailed, DownloadRefused, ModelNotFound, WorkerError
from worker.models.format.safetensors import BrokenHeader, WrongLength
from worker.models.sources.http_file import Busy, Denied
from worker.net.fetch_errors import FetchError, Refused, TooLarge

if TYPE_CHECKING:
    from worker.models.sources.model_source import Locator
    from worker.settings import ModelKind

_NOT_LET_IN = {401, 403}
_NOT_THERE = {404, 410}


def fetch_error(error: FetchError | BrokenHeader, locator: Locator, kind: ModelKind, path: str) -> WorkerError:
    """Return the typed error for what stopped the fetch of `locator`, asked for in the job's field `path`."""
    at = f"{path}: " if path else ""
    details: dict[str, object] = {"path": path, "kind": kind, "source": locator.key}
    if isinstance(error, BrokenHeader):
        return DownloadRefused(
            f"{at}what {locator.key} sends is no model file: {error}",
            hint=_shape_hint(error, locator),
            details=details,
        )
    if isinstance(error, Denied):
        return _denied(error, locator, kind, at, details)
    if isinstance(error, Busy):
        wait = error.retry_after_s
        if wait is not None:
            details["retry_after_s"] = round(wait)
        when = f"in {round(wait)} s" if wait is not None else "later"
        return DownloadFailed(
            f"{at}{locator.key} is not to be had now: {error}", hint=f"Try again {when}.", details=details
        )
    if isinstance(error, TooLarge):
        return DownloadRefused(
            f"{at}{locator.key} is too large: {error}", hint="The limit is MODEL_MAX_BYTES.", details=details
        )
    if isinstance(error, Refused):
        return DownloadRefused(
            f"{at}{locator.key} is not fetched: {error}",
            hint=error.hint,
            details=details,
        )
    return DownloadFailed(f"{at}{locator.key} could not be fetched: {error}", hint="Try again.", details=details)


def _shape_hint(error: BrokenHeader, locator: Locator) -> str:
    if isinstance(error, WrongLength):
        return "The file is cut short there, or was on its way: try again, or use another source."
    page_hint: str = getattr(locator, "page_hint", "")
    return page_hint or f"Give the address of the file itself, not of a page about it. {locator.access_hint}"


def _denied(error: Denied, locator: Locator, kind: ModelKind, at: str, details: dict[str, object]) -> WorkerError:
    details["status"] = error.status
    if error.status in _NOT_LET_IN:
        return DownloadRefused(
            f"{at}no access to {locator.key}: {error}", hint=_access_hint(error, locator), details=details
        )
    if error.status in _NOT_THERE:
        return ModelNotFound(
            f"{at}there is no {kind} at {locator.key}: {error}", hint=locator.absent_hint, details=details
        )
    return DownloadRefused(
        f"{at}{locator.key} can't be downloaded: {error}", hint=locator.refused_hint, details=details
    )


def _access_hint(error: Denied, locator: Locator) -> str:
    if error.elsewhere:
        return f"The source let the request in, and {error.host}, where it keeps the file, refused it: try again later."
    if error.token_sent:
        return "A token was sent, and not accepted for this file. Is it valid, and may its account download the file?"
    return locator.access_hint
