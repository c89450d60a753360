"""References to models as clients write them: names, addresses and the short forms of the sources.

`SOURCES` lists every source that the worker knows; the first one that recognises a reference reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.models.format.filenames import BadReference
from worker.models.sources.civitai import CIVITAI
from worker.models.sources.huggingface import HUGGING_FACE
from worker.models.sources.model_source import AnyKind, Connection, Locator, Offer, Source
from worker.models.sources.s3_file import S3
from worker.models.sources.web import WEB
from worker.net.addresses import AllowList
from worker.net.fetch import Fetcher, FetchLimits
from worker.net.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.types.model_ref import ModelRef
    from worker.settings import Settings

SOURCES: tuple[AnyKind, ...] = (CIVITAI, HUGGING_FACE, S3, WEB)
_READ_S = 20.0
_FORMS = "https://, http://, s3://, hf: or civitai:"


def parse_locator(text: str, *, revision: str | None = None) -> Locator | None:
    """Return the locator that `text` is, or None when it is a plain name.

    Raises:
        BadReference: it starts like a locator (``hf:``, ``s3://``, ``https://`` …) but is not a whole one.
    """
    for kind in SOURCES:
        found: Locator | None = kind.parse(text, revision)
        if found is not None:
            return found
    if "://" in text:
        raise BadReference(f"addresses start with {_FORMS}, not {text.split(':', 1)[0]}:")
    return None


def locate(ref: ModelRef) -> Locator | None:
    """Return the locator of a reference (its url, else its name read as one), or None for a plain name.

    Raises:
        BadReference: as `parse_locator`, or it has a version where nothing can be chosen by one.
    """
    found = parse_locator(ref.name or "" if ref.url is None else ref.url, revision=ref.revision)
    if ref.url is not None and found is None:
        raise BadReference(f"url must start with {_FORMS}")
    if ref.revision is not None and not any(kind.has_versions and isinstance(found, kind.locator) for kind in SOURCES):
        what = "a name" if found is None else "this address"
        raise BadReference(f"has the version {ref.revision!r}; {what} is of one file (CivitAI and hf: have versions)")
    return found


def token_for(ref: ModelRef, locator: Locator, first: Locator) -> str | None:
    """Return a reference's token if it is for `locator`: for the site that it names itself, else that of `first`."""
    return own_token(ref) if (locate(ref) or first).site == locator.site else None


def own_token(ref: ModelRef) -> str | None:
    """Return the token that a reference brings: in its field, or in the address where its source allows that."""
    if ref.token is not None:
        return ref.token.get_secret_value()
    found = locate(ref)
    kind = next((each for each in SOURCES if isinstance(found, each.locator)), None)
    return kind.token_in(ref.url or ref.name or "") if kind is not None else None


def plain_name(ref: ModelRef) -> str | None:
    """Return the name that the client gave the model, or None when it gave only an address."""
    if ref.name is None or (ref.url is None and parse_locator(ref.name, revision=ref.revision) is not None):
        return None
    return ref.name


class Sources:
    """The sources of one worker, by the type of their locators."""

    def __init__(self, by_locator: Mapping[type[Locator], Source[Any]]) -> None:
        self._by_locator = by_locator

    def offer(self, locator: Locator, *, token: str | None) -> Offer:
        """Return what a source offers; see `Source.offer`."""
        return self._by_locator[type(locator)].offer(locator, token=token)

    def abort(self) -> None:
        """End whatever is on its way from them, at the worker's end; callable from any thread."""
        for source in self._by_locator.values():
            source.fetcher.abort()


def connect_sources(settings: Settings) -> Sources:
    """Return the sources that the settings allow. Raises SettingsInvalid when the store is half configured."""
    connections = settings.model_connections * settings.model_downloads
    fetcher = Fetcher(Guard(AllowList.of(settings.allowed_hosts)), connections=connections)
    connection = Connection(settings, fetcher, FetchLimits(read_s=_READ_S), connections)
    return Sources({kind.locator: kind.connect(connection) for kind in SOURCES})
