"""What CivitAI says about a model version: its file, hash, base model and trigger words; pure but for one GET."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from worker.models.format.detect import known_base
from worker.models.sources.http import Busy, refusal
from worker.net.fetch import Limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.models.reference.locators import Civitai
    from worker.net.fetch import Fetcher

BASE = "https://civitai.com"
MAX_ANSWER_BYTES = 8 * 1024 * 1024
_FINE = 200


@dataclass(frozen=True, slots=True)
class CivitaiFile:
    """One file of one version.

    Attributes:
        version: The version's id.
        name: The file's name there; None when the site did not say.
        sha256: None unless the site names it for exactly the file that a download gives.
        base_model: In our words.
        trigger_words: As published.
    """

    version: int
    name: str | None = None
    sha256: str | None = None
    base_model: str | None = None
    trigger_words: tuple[str, ...] = ()


class UnknownModel(Exception):
    """CivitAI has no such model, or it has no version that can be downloaded."""


def ask(fetcher: Fetcher, base: str, locator: Civitai, secrets: Mapping[str, str], limits: Limits) -> CivitaiFile:
    """Return what CivitAI says about a locator.

    Raises:
        FetchError: no answer, or none of CivitAI's own.
        UnknownModel: the answer names no version.
    """
    path = f"model-versions/{locator.version}" if locator.version is not None else f"models/{locator.model}"
    bounds = Limits(limits.connect_s, limits.read_s, 4 * limits.read_s, MAX_ANSWER_BYTES, limits.redirects)
    with fetcher.open(f"{base}/api/v1/{path}", secrets=secrets, limits=bounds) as body:
        if body.status != _FINE:
            raise refusal(body, time.time())
        raw = body.read()
    try:
        data = orjson.loads(raw)
    except ValueError:  # a page of whoever stands before it
        raise Busy("CivitAI answered with something else than JSON", retry_after_s=None, status=_FINE) from None
    return read_answer(data, locator)


def read_answer(data: Any, locator: Civitai) -> CivitaiFile:
    """Return the file from a model's or a version's JSON; anything may be missing. Raises `UnknownModel`."""
    version = data if isinstance(data, dict) else {}
    if locator.version is None:
        versions = version.get("modelVersions")
        version = versions[0] if isinstance(versions, list) and versions and isinstance(versions[0], dict) else {}
        if not isinstance(version.get("id"), int):
            raise UnknownModel
    chosen = _chosen(version.get("files"), dict(locator.choices))
    hashes = chosen.get("hashes")
    digest = hashes.get("SHA256") if isinstance(hashes, dict) else None
    words = version.get("trainedWords")
    base = version.get("baseModel")
    name = chosen.get("name")
    return CivitaiFile(
        version=locator.version if locator.version is not None else version["id"],
        name=name if isinstance(name, str) else None,
        sha256=digest.lower() if isinstance(digest, str) and len(digest) == 64 else None,  # noqa: PLR2004  hex digits
        base_model=known_base(base if isinstance(base, str) else None),
        trigger_words=tuple(w.strip()[:200] for w in words if isinstance(w, str))[:50]
        if isinstance(words, list)
        else (),
    )


def download_url(base: str, version: int, choices: tuple[tuple[str, str], ...]) -> str:
    """Return the address of a version's file."""
    query = f"?{urlencode(choices)}" if choices else ""
    return f"{base}/api/download/models/{version}{query}"


def _chosen(files: Any, choices: Mapping[str, str]) -> dict[str, Any]:
    """Return the one file that a download with these choices gives, or nothing when that is not clear."""
    known = [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []
    if not choices:
        known = [file for file in known if file.get("primary") is True] if len(known) > 1 else known
    else:
        known = [file for file in known if _matches(file, choices)]
    return known[0] if len(known) == 1 else {}


def _matches(file: Mapping[str, Any], choices: Mapping[str, str]) -> bool:
    metadata = file.get("metadata")
    facts: dict[str, Any] = {**metadata, "type": file.get("type")} if isinstance(metadata, dict) else dict(file)
    return all(str(facts.get(name, "")).lower() == value.lower() for name, value in choices.items())
