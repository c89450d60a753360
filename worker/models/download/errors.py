"""Errors of failed downloads, in words that say what to do; pure.

The texts name hosts and source keys, which hold no secrets, and the field of the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.errors import DownloadFailed, DownloadRefused, ModelNotFound, WorkerError
from worker.models.format.safetensors import BrokenHeader
from worker.models.reference.locators import Civitai, HuggingFace, Locator, S3Object
from worker.models.sources.http import Busy, Denied
from worker.net.errors import FetchError, Refused, TooLarge

if TYPE_CHECKING:
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
            hint="Give the address of the file itself, not of a page about it. " + _login_hint(locator),
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
            hint="Only public http(s) addresses are fetched; the operator can allow others in ALLOW_HOSTS.",
            details=details,
        )
    return DownloadFailed(f"{at}{locator.key} could not be fetched: {error}", hint="Try again.", details=details)


def _denied(error: Denied, locator: Locator, kind: ModelKind, at: str, details: dict[str, object]) -> WorkerError:
    details["status"] = error.status
    if error.status in _NOT_LET_IN:
        return DownloadRefused(f"{at}no access to {locator.key}: {error}", hint=_login_hint(locator), details=details)
    if error.status in _NOT_THERE:
        return ModelNotFound(
            f"{at}there is no {kind} at {locator.key}: {error}",
            hint=_absent_hint(locator),
            details=details,
        )
    return DownloadRefused(f"{at}{locator.key} is not to be had: {error}", hint=_other_hint(locator), details=details)


def _login_hint(locator: Locator) -> str:
    if isinstance(locator, Civitai):
        return (
            "Set CIVITAI_API_KEY or give the model a token; early-access models need an account that has bought them."
        )
    if isinstance(locator, HuggingFace):
        return (
            f"Accept the model's terms on huggingface.co/{locator.repo} and set HF_TOKEN or give the model a token "
            "of that account."
        )
    if isinstance(locator, S3Object):
        return "The store's keys (BUCKET_ACCESS_KEY_ID, BUCKET_SECRET_ACCESS_KEY) must be allowed to read this object."
    return "If the address needs a login, give the model a token (sent as a bearer token) or use a signed URL."


def _absent_hint(locator: Locator) -> str:
    if isinstance(locator, HuggingFace):
        return (
            "Check repository, revision and path; a private repository is hidden from who may not read it: set "
            "HF_TOKEN or give the model a token."
        )
    return "Check the id or address; the author may have removed the model."


def _other_hint(locator: Locator) -> str:
    if isinstance(locator, S3Object):
        return "Set BUCKET_ENDPOINT_URL, BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY."
    if isinstance(locator, HuggingFace):
        return "Unset HF_HUB_OFFLINE for the worker, or put the file on the volume."
    return "Check the address."
