"""Models in the operator's object store: signed addresses, downloaded like any other URL.

Signing is the store's (`worker.storage`); the bytes come over `worker.models.download`, which hashes in the same pass,
resumes after a crash and notices a changed object, none of which boto3's own transfer does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.models.format.filenames import BadReference
from worker.models.sources.http_file import Denied, HttpFile
from worker.models.sources.model_source import Locator, Offer, SourceKind
from worker.net.addresses import AllowList
from worker.net.fetch import Fetcher
from worker.net.guard import Guard
from worker.storage.stores import StoreClients
from worker.storage.target import from_settings

if TYPE_CHECKING:
    from worker.models.sources.model_source import Connection
    from worker.net.fetch import FetchLimits
    from worker.storage.object_store import StoreTarget

_URL_LIFE_S = 3600
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class S3Object(Locator):
    """An object of an S3 bucket."""

    bucket: str
    path: str

    access_hint = (
        "The store's keys (BUCKET_ACCESS_KEY_ID, BUCKET_SECRET_ACCESS_KEY) must be allowed to read this object."
    )
    refused_hint = (
        "Models are read from the buckets in MODEL_BUCKETS, by default the one of BUCKET_ENDPOINT_URL and BUCKET_NAME, "
        "with BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY."
    )

    @property
    def key(self) -> str:
        """``s3://bucket/key``."""
        return f"s3://{self.bucket}/{self.path}"

    @property
    def file_name(self) -> str:
        """The last part of the key."""
        return self.path.rsplit("/", 1)[-1]


def parse(text: str, _revision: str | None) -> S3Object | None:
    """Return the locator of ``s3://bucket/key``."""
    if not text.lower().startswith("s3://"):
        return None
    bucket, _, path = text[len("s3://") :].partition("/")
    if not _BUCKET.fullmatch(bucket) or not path or path.endswith("/"):
        raise BadReference("S3 references are s3://bucket/key")
    return S3Object(bucket, path)


class S3Source:
    """Buckets of the store that BUCKET_* names, for reading.

    Args:
        target: The store and its own bucket; None: no store is configured.
        limits: Time limits of one request.
        allowed_hosts: The operator's; the store's own hosts are allowed wherever they are.
        connections: Kept open at once.
        buckets: Names of the buckets that references may name; default: the store's own alone.
    """

    def __init__(
        self,
        target: StoreTarget | None,
        limits: FetchLimits,
        *,
        allowed_hosts: tuple[str, ...],
        connections: int,
        buckets: tuple[str, ...] = (),
    ) -> None:
        self._target = None if target is None else replace(target, public_url=None, expiry_s=_URL_LIFE_S)
        self._buckets = buckets or (() if target is None else (target.bucket,))
        hosts: tuple[str, ...] = ()
        if target is not None:
            hosts = (target.address[0], target.host, *(f"{bucket}.{target.address[0]}" for bucket in self._buckets))
        guard = Guard(AllowList.of((*allowed_hosts, *hosts)))
        self._clients = StoreClients(guard)
        self.fetcher = Fetcher(guard, connections=connections)
        self._limits = limits

    def offer(self, locator: S3Object, *, token: str | None) -> Offer:  # noqa: ARG002  the store's keys are its login
        """Return an object of a bucket that the operator allows, by a signed address; nothing is signed for others."""
        target = self._target
        if target is None:
            raise Denied("no S3 store is configured, so s3:// can't be read", status=0, host="s3")
        if locator.bucket not in self._buckets:
            allowed = ", ".join(self._buckets)
            raise Denied(f"is not in a bucket that models may come from ({allowed})", status=0, host=target.host)
        store = self._clients.of(replace(target, bucket=locator.bucket))
        remote = HttpFile(self.fetcher, lambda: store.url(locator.path), secrets={}, limits=self._limits)
        return Offer(remote, name=locator.file_name)


def connect(connection: Connection) -> S3Source:
    """Return the source. Raises SettingsInvalid for an incomplete store."""
    settings = connection.settings
    return S3Source(
        from_settings(settings),
        connection.limits,
        allowed_hosts=settings.allowed_hosts,
        connections=connection.connections,
        buckets=settings.readable_buckets,
    )


S3 = SourceKind(S3Object, parse, connect)
