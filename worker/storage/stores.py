"""The kinds of stores that the worker knows, and its clients of them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from worker.common.clock import running
from worker.storage.location import BadEndpoint
from worker.storage.s3 import S3

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.net.guard import Guard
    from worker.storage.location import Location
    from worker.storage.object_store import Account, Store, StoreKind, StoreTarget

STORES: dict[str, StoreKind] = {"https": S3, "http": S3}
"""By the scheme of the endpoint's address."""


def parse_location(endpoint: str, bucket: str | None = None, region: str | None = None) -> Location:
    """Return where an endpoint's bucket is. Raises `BadEndpoint`."""
    return _kind(endpoint).parse(endpoint, bucket, region)


class StoreClients:
    """Stores by target: the operator's for as long as the worker lives, and the few used last of jobs' own.

    The buckets of one endpoint with the same credentials share one client.

    Args:
        guard: Where untrusted targets may lead.
        most: Stores of jobs that are remembered.
        connections: Kept open by each client.
        now: A monotonic clock in seconds; deadlines are on it.
    """

    def __init__(
        self, guard: Guard, *, most: int = 8, connections: int = 8, now: Callable[[], float] = running
    ) -> None:
        self._guard = guard
        self._connections = connections
        self._now = now
        self._most = most
        self._lock = threading.Lock()
        self._stores: dict[StoreTarget, Store] = {}  # the latest used is last
        self._accounts: WeakValueDictionary[object, Account] = WeakValueDictionary()

    def of(self, target: StoreTarget) -> Store:
        """Return the store of `target`; connects nowhere yet, but the first call imports the client library."""
        with self._lock:
            store = self._stores.pop(target, None) or self._account(target).store(target)
            self._stores[target] = store
            for old in [one for one in self._stores if not one.trusted][: -self._most]:
                self._stores.pop(old)  # not closed: an upload may still use it
            return store

    def __len__(self) -> int:
        """Return how many stores are remembered."""
        return len(self._stores)

    def _account(self, target: StoreTarget) -> Account:
        account = self._accounts.get(target.account)
        if account is None:
            connect = _kind(target.endpoint).connect
            account = connect(target, self._guard, connections=self._connections, now=self._now)
            self._accounts[target.account] = account
        return account


def _kind(endpoint: str) -> StoreKind:
    scheme = endpoint.strip().partition("://")[0].lower() if "://" in endpoint else ""
    kind = STORES.get(scheme)
    if kind is None:
        raise BadEndpoint("endpoint", f"must start with {' or '.join(f'{known}://' for known in STORES)}")
    return kind
