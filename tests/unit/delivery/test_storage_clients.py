"""How many clients of stores there are, whatever jobs name, and how a new kind of store is added."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from worker.net.guard import Guard
from worker.storage import stores
from worker.storage.location import BadEndpoint, Location
from worker.storage.object_store import StoreKind, StoreTarget
from worker.storage.stores import StoreClients, parse_location

TARGET = StoreTarget("memory://here", "pics", "", "path", "key", "secret")


class MemoryStore:
    """A bucket in memory."""

    def __init__(self, target: StoreTarget, objects: dict[str, bytes]) -> None:
        self.target = target
        self._objects = objects

    def put(self, key: str, data: bytes, **_: Any) -> None:
        self._objects[f"{self.target.bucket}/{key}"] = data

    def get(self, key: str, **_: Any) -> bytes:
        return self._objects[f"{self.target.bucket}/{key}"]

    def delete(self, key: str, **_: Any) -> None:
        self._objects.pop(f"{self.target.bucket}/{key}", None)

    def url(self, key: str) -> str:
        return f"{self.target.endpoint}/{self.target.bucket}/{key}"

    def unverified_links_warning(self) -> None:
        return None


class MemoryAccount:
    """A client of such buckets."""

    made = 0

    def __init__(self, _target: StoreTarget, _guard: Guard, **_: Any) -> None:
        MemoryAccount.made += 1
        self.objects: dict[str, bytes] = {}

    def store(self, target: StoreTarget) -> MemoryStore:
        store = MemoryStore(target, self.objects)
        store.account = self  # type: ignore[attr-defined]  # lives as long as one of its buckets
        return store


def _parse(endpoint: str, bucket: str | None, region: str | None) -> Location:
    return Location(endpoint, bucket or "default", region or "", "path")


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    MemoryAccount.made = 0
    monkeypatch.setitem(stores.STORES, "memory", StoreKind(_parse, MemoryAccount))  # type: ignore[arg-type]


def test_a_new_kind_of_store_is_one_line_in_the_registry() -> None:
    assert parse_location("memory://here", "pics") == Location("memory://here", "pics", "", "path")
    store = StoreClients(Guard()).of(TARGET)
    store.put("a", b"1", content_type="text/plain", metadata={}, deadline=0)
    assert store.get("a", deadline=0) == b"1"


def test_an_endpoint_of_no_known_kind_is_refused_with_those_that_are() -> None:
    with pytest.raises(BadEndpoint, match="must start with https:// or http://"):
        parse_location("ftp://here", "pics")


def test_buckets_of_one_endpoint_and_one_key_share_one_client() -> None:
    clients = StoreClients(Guard())
    kept = [clients.of(replace(TARGET, bucket=f"bucket-{number}")) for number in range(200)]
    assert MemoryAccount.made == 1
    assert len({id(one) for one in kept}) == 200


@pytest.mark.parametrize("change", [{"access_key": "k"}, {"secret_key": "s"}, {"endpoint": "memory://there"},
                                    {"session_token": "t"}, {"trusted": True}])  # fmt: skip
def test_other_credentials_or_endpoints_share_nothing(change: dict[str, Any]) -> None:
    clients = StoreClients(Guard())
    one, other = clients.of(TARGET), clients.of(replace(TARGET, **change))
    assert MemoryAccount.made == 2
    one.put("a", b"1", content_type="text/plain", metadata={}, deadline=0)
    with pytest.raises(KeyError):
        other.get("a", deadline=0)


def test_few_stores_of_jobs_are_remembered_and_the_operators_always() -> None:
    clients = StoreClients(Guard(), most=4)
    own = clients.of(replace(TARGET, trusted=True))
    first = clients.of(replace(TARGET, access_key="0"))
    for number in range(1, 50):
        clients.of(replace(TARGET, access_key=str(number)))
    assert clients.of(replace(TARGET, trusted=True)) is own
    assert len(clients) == 5
    assert clients.of(replace(TARGET, access_key="0")) is not first
