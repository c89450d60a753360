"""The interface of an object store, and the description of one bucket.

A new kind of store is one module with a `StoreKind`, and one line in `worker.storage.stores.STORES`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.net.guard import Guard
    from worker.settings import LinkCheck
    from worker.storage.location import Addressing, Location

DAY_S = 86400


@dataclass(frozen=True, slots=True)
class StoreTarget:
    """A bucket and the right to write to it.

    Attributes:
        endpoint: The service's address, without the bucket.
        bucket: Its name.
        region: What signatures name.
        addressing: Whether the bucket goes into the path or the host.
        access_key: Key id; never printed.
        secret_key: Never printed.
        prefix: Put before every key.
        expiry_s: Life of presigned URLs, seconds.
        public_url: Base of plain URLs when the bucket is public.
        session_token: Of temporary keys; never printed, but part of presigned URLs, which end with it.
        trusted: The operator's own: its host needs no permission. A job's may lead to public addresses only.
        link_check: Whether links are checked to open: the first one, each, or none.
    """

    endpoint: str
    bucket: str
    region: str
    addressing: Addressing
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    prefix: str = ""
    expiry_s: int = DAY_S
    public_url: str | None = None
    session_token: str | None = field(default=None, repr=False)
    trusted: bool = False
    link_check: LinkCheck = "once"

    @property
    def host(self) -> str:
        """The service's host, with its port where it has one."""
        return urlsplit(self.endpoint).netloc

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to connect to when the bucket is addressed by path."""
        parts = urlsplit(self.endpoint)
        return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def account(self) -> tuple[str, str, str, str, str, str | None, bool]:
        """Endpoint and credentials: the buckets for which this is equal share one client."""
        return (
            self.endpoint,
            self.region,
            self.addressing,
            self.access_key,
            self.secret_key,
            self.session_token,
            self.trusted,
        )


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in a store: its size in bytes, and when it was stored, seconds since the epoch."""

    key: str
    size: int
    modified: float


class Store(Protocol):
    """One bucket; thread-safe. Every method blocks, and raises `StoreError` for what the store says."""

    @property
    def target(self) -> StoreTarget:
        """The bucket."""

    def put(
        self,
        key: str,
        data: bytes,
        *,
        content_type: str,
        metadata: Mapping[str, str],
        deadline: float,
        linked: bool = True,
    ) -> None:
        """Store `data` under `key` and make sure that it is there; with `linked` also that its link opens."""

    def get(self, key: str, *, deadline: float, most: int | None = None) -> bytes:
        """Return the bytes under `key`, at most `most`."""

    def list(self, prefix: str, *, deadline: float) -> Sequence[StoredFile]:
        """Return the files whose keys begin with `prefix`."""

    def delete(self, key: str, *, deadline: float) -> None:
        """Remove `key`; removing what is not there is fine."""

    def url(self, key: str) -> str:
        """Return the URL from which a client downloads `key`; no request is made."""

    def unverified_links_warning(self) -> str | None:
        """Return the warning for clients that links could not be checked from here; None where they were."""


class Account(Protocol):
    """A client of one endpoint with one set of credentials; its buckets share its connections."""

    def store(self, target: StoreTarget) -> Store:
        """Return one of its buckets."""


class Connect(Protocol):
    """Makes the client for a target's endpoint and credentials."""

    def __call__(self, target: StoreTarget, guard: Guard, *, connections: int, now: Callable[[], float]) -> Account:
        """Return the client. Untrusted targets reach only what the guard allows.

        Args:
            target: Any bucket of the account.
            guard: Where untrusted targets may lead.
            connections: Kept open, at least as many as uploads run at once.
            now: A monotonic clock in seconds; deadlines are on it.
        """


@dataclass(frozen=True, slots=True)
class StoreKind:
    """An implementation of stores.

    Attributes:
        parse: ``parse(endpoint, bucket, region)`` → `Location`; raises `BadEndpoint`.
        connect: Makes the client for a target's endpoint and credentials.
    """

    parse: Callable[[str, str | None, str | None], Location]
    connect: Connect
