# DOCS: The sources that the worker's settings allow.
"""From a locator to an offer: what can be fetched, how it is called, what it must be and how its bytes come."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from worker.models.reference.locators import Civitai, HuggingFace, Locator, S3Object, Web
from worker.models.sources import civitai
from worker.models.sources import huggingface as hub
from worker.models.sources.http import Denied, HttpFile
from worker.models.sources.s3 import s3_source
from worker.net.addresses import AllowList
from worker.net.errors import FetchError
from worker.net.fetch import Fetcher, Limits
from worker.net.guard import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.models.sources.http import RemoteFile
    from worker.settings import Settings


class S3Reader(Protocol):
    """An S3 store that signs addresses of its objects, and the session that may go there."""

    fetcher: Fetcher

    def url(self, bucket: str, key: str) -> str:
        """Return a signed GET."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What a source offers.

    Attributes:
        remote: Its bytes, in ranges.
        hub: The file for the hub's own library, which is tried first.
        token: For the hub's library.
        name: The file's name there; None when only the download tells.
        size: Bytes, when the source says so beforehand.
        sha256: What the source says the file is.
        base_model: As the source says.
        trigger_words: As the source says.
        also: Other locators' keys that mean this very file.
    """

    remote: RemoteFile
    hub: HuggingFace | None = None
    token: str | None = field(default=None, repr=False)
    name: str | None = None
    size: int | None = None
    sha256: str | None = None
    base_model: str | None = None
    trigger_words: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sources:
    """The places models come from.

    Attributes:
        fetcher: Guarded HTTP.
        civitai_token: Sent to `civitai_base`'s own origin only.
        hf_token: Sent to `hf_base` only.
        s3: The operator's store; None: none is configured.
        limits: Time limits of one request.
        civitai_base, hf_base: Where the sites are.
        by_hub: Whether the hub's library fetches a file: when the file is in Xet storage.
    """

    fetcher: Fetcher
    civitai_token: str | None = field(default=None, repr=False)
    hf_token: str | None = field(default=None, repr=False)
    s3: S3Reader | None = None
    limits: Limits = field(default_factory=lambda: Limits(read_s=20))
    civitai_base: str = civitai.BASE
    hf_base: str = hub.BASE
    by_hub: Callable[[hub.HubFile], bool] = lambda file: file.xet

    def offer(self, locator: Locator, *, token: str | None) -> Offer:
        """Return what a source offers.

        Args:
            locator: The source.
            token: The job's own; takes the place of the configured one, for the same host only.

        Raises:
            FetchError: it offers nothing.
        """
        if isinstance(locator, Civitai):
            return self._civitai(locator, token or self.civitai_token)
        if isinstance(locator, HuggingFace):
            return self._hub(locator, token or self.hf_token)
        if isinstance(locator, S3Object):
            return self._s3(locator)
        return self._web(locator, token)

    def _civitai(self, locator: Civitai, token: str | None) -> Offer:
        secrets = _bearer(token)
        try:
            about = civitai.ask(self.fetcher, self.civitai_base, locator, secrets, self.limits)
        except civitai.UnknownModel:
            raise Denied(f"CivitAI knows no {locator.key}", status=404, host="civitai.com") from None
        except FetchError:
            if locator.version is None:
                raise
            about = civitai.CivitaiFile(locator.version)  # the download works without it
        newest = replace(locator, version=about.version, model=None)
        url = civitai.download_url(self.civitai_base, about.version, locator.choices)
        return Offer(
            HttpFile(self.fetcher, lambda: url, secrets=secrets, limits=self.limits),
            name=about.name,
            sha256=about.sha256,
            base_model=about.base_model,
            trigger_words=about.trigger_words,
            also=(newest.key,) if locator.version is None else (),
        )

    def _hub(self, locator: HuggingFace, token: str | None) -> Offer:
        about = hub.ask(locator, base=self.hf_base, token=token, timeout_s=self.limits.read_s)
        remote = HttpFile(self.fetcher, lambda: about.url, secrets=_bearer(token), limits=self.limits)
        offer = Offer(remote, name=locator.file_name, size=about.size, sha256=about.sha256)
        if self.by_hub(about):
            return replace(offer, hub=replace(locator, revision=about.commit or locator.revision), token=token)
        return offer

    def _s3(self, locator: S3Object) -> Offer:
        store = self.s3
        if store is None:
            raise Denied("no S3 store is configured, so s3:// can't be read", status=0, host="s3")
        remote = HttpFile(
            store.fetcher, lambda: store.url(locator.bucket, locator.path), secrets={}, limits=self.limits
        )
        return Offer(remote, name=locator.file_name)

    def _web(self, locator: Web, token: str | None) -> Offer:
        remote = HttpFile(self.fetcher, lambda: locator.url, secrets=_bearer(token), limits=self.limits)
        return Offer(remote, name=locator.file_name or None)


def _bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def sources_of(settings: Settings) -> Sources:
    """Return the sources that the settings allow. Raises SettingsInvalid when the S3 store is half configured."""
    guard = Guard(AllowList.of(settings.allowed_hosts))
    connections = settings.model_connections * settings.model_downloads
    return Sources(
        Fetcher(guard, connections=connections),
        civitai_token=settings.civitai_token.get_secret_value() if settings.civitai_token else None,
        hf_token=settings.hf_token.get_secret_value() if settings.hf_token else None,
        s3=s3_source(settings, connections=connections),
    )
