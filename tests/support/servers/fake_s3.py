"""A store that misbehaves on cue: what a real one does under load can't be ordered from it.

It checks no signature (`swift_server` does); it keeps what is put, answers ETag as S3 does, and asks its `fault` first.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tests.support.loopback_http import Reply, Request, Server
from worker.storage.object_store import StoreTarget

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

    Fault = Callable[[Request, int], Reply | None]


def error(status: int, code: str) -> Reply:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return Reply(status, body, {"Content-Type": "application/xml"})


class FakeStore:
    """Attributes: `objects` by key, `seen` (method, key) in order of arrival."""

    def __init__(self, fault: Fault, tls: ssl.SSLContext | None = None) -> None:
        self.objects: dict[str, bytes] = {}
        self.seen: list[tuple[str, str]] = []
        self.deleted = threading.Event()
        self._fault = fault
        self._lock = threading.Lock()
        self.server = Server(self._answer, tls=tls)

    def target(self, **changes: Any) -> StoreTarget:
        """The operator's store; nobody looks at its links, which would be requests too, unless `changes` say so."""
        target = StoreTarget(
            self.server.url, "pics", "us-east-1", "path", "key", "secret", trusted=True, link_check="off"
        )
        return replace(target, **changes)

    def tries(self, method: str) -> int:
        return sum(1 for seen, _ in self.seen if seen == method)

    def _answer(self, request: Request) -> Reply:
        key = unquote(request.path).removeprefix("/pics/")
        with self._lock:
            number = sum(1 for seen in self.seen if seen == (request.method, key))
            self.seen.append((request.method, key))
        if (reply := self._fault(request, number)) is not None:
            return reply
        if request.method == "PUT":
            self.objects[key] = request.body
            return Reply(200, headers={"ETag": f'"{hashlib.md5(request.body).hexdigest()}"'})
        if request.method == "DELETE":
            self.objects.pop(key, None)
            self.deleted.set()
            return Reply(204)
        return Reply(200, self.objects[key]) if key in self.objects else error(404, "NoSuchKey")


@contextmanager
def fake_store(
    fault: Fault = lambda _request, _number: None, *, tls: ssl.SSLContext | None = None
) -> Iterator[FakeStore]:
    """Run a store; `fault(request, number)` sees how often the same was asked before, and None means: do it right."""
    fake = FakeStore(fault, tls)
    fake.server.start()
    try:
        yield fake
    finally:
        fake.server.stop()
