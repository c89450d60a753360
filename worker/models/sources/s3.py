"""Models in the operator's S3 store: signed addresses, fetched like any other URL.

Signing is boto3's (`worker.storage.s3`); the bytes come over `worker.models.download`, which hashes in the same pass,
resumes after a crash and notices a changed object, none of which boto3's own transfer does.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from worker.net.addresses import AllowList
from worker.net.fetch import Fetcher
from worker.net.guard import Guard
from worker.storage.stores import StoreClients
from worker.storage.target import from_settings

if TYPE_CHECKING:
    from worker.settings import Settings
    from worker.storage.base import StoreTarget

_URL_LIFE_S = 3600


class S3Source:
    """The store that BUCKET_* names, for reading.

    Attributes:
        fetcher: May connect to the store wherever it is: the operator has named it.
    """

    def __init__(self, target: StoreTarget, *, allowed_hosts: tuple[str, ...], connections: int) -> None:
        self._target = replace(target, public_url=None, expiry_s=_URL_LIFE_S)
        host = self._target.address[0]
        guard = Guard(AllowList.of((*allowed_hosts, host, self._target.host)))
        self._clients = StoreClients(guard)
        self.fetcher = Fetcher(guard, connections=connections)

    def url(self, bucket: str, key: str) -> str:
        """Return a signed GET of an object; works for an hour."""
        return self._clients.of(replace(self._target, bucket=bucket)).url(key)


def s3_source(settings: Settings, *, connections: int) -> S3Source | None:
    """Return the operator's store, None when there is none. Raises SettingsInvalid for an incomplete one."""
    target = from_settings(settings)
    if target is None:
        return None
    return S3Source(target, allowed_hosts=settings.allowed_hosts, connections=connections)
