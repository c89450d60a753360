"""The sources that the worker's settings allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.models.s3 import s3_source
from worker.models.sources import Sources
from worker.net.addresses import AllowList
from worker.net.fetch import Fetcher
from worker.net.guard import Guard

if TYPE_CHECKING:
    from worker.settings import Settings


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
