"""The pictures' store of a chaos run: a real S3 server, behind a hop that lets requests go wrong on cue."""

from __future__ import annotations

import hashlib
import http.client
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from tests.support.loopback_http import Reply, Request, Server
from tests.support.servers.fake_s3 import error
from tests.support.servers.s3 import ACCESS_KEY, SECRET_KEY, Store, running_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler

Wrong = Literal["busy", "deny", "slow", "damage", "forget", "hide", "cut", "mute"]
"""503; 403; seconds late; a byte changed on the way; 200 for what is not kept; a link that is not found; a closed
connection; none but after seconds."""
SLOW_S, MUTE_S = 1.0, 3.0
BUCKET = "pics"
_ONE_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "date", "server"})


class HopStore:
    """Hands each request on as it is, but for those that are to go wrong."""

    def __init__(self, behind: Store) -> None:
        self._behind = behind
        self._lock = threading.Lock()
        self._uploads: deque[Wrong] = deque()
        self._hidden = 0
        self.server = Server(self._answer)

    def spoil(self, what: Wrong, count: int = 1) -> None:
        """Let the next `count` uploads, or looks at links, go wrong in this way."""
        with self._lock:
            if what == "hide":
                self._hidden += count
            else:
                self._uploads.extend([what] * count)

    def mend(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._uploads.clear()
            self._hidden = 0

    def environment(self) -> dict[str, str]:
        """Return the settings of a worker that stores pictures here."""
        return {
            "BUCKET_ENDPOINT_URL": self.server.url,
            "BUCKET_NAME": BUCKET,
            "BUCKET_ACCESS_KEY_ID": ACCESS_KEY,
            "BUCKET_SECRET_ACCESS_KEY": SECRET_KEY,
        }

    def _answer(self, request: Request) -> Reply:  # noqa: PLR0911 - one line per way of going wrong
        wrong = self._wrong(request)
        if wrong == "busy":
            return error(503, "SlowDown")
        if wrong == "deny":
            return error(403, "AccessDenied")
        if wrong == "hide":
            return error(404, "NoSuchKey")
        if wrong == "forget":
            return Reply(200, headers={"ETag": f'"{hashlib.md5(request.body, usedforsecurity=False).hexdigest()}"'})
        if wrong == "cut":
            return Reply(raw=_hang_up)
        if wrong == "mute":
            time.sleep(MUTE_S)  # a store that does not answer wakes nobody
            return Reply(raw=_hang_up)
        if wrong == "slow":
            time.sleep(SLOW_S)  # as above
        if wrong == "damage":
            turned = bytearray(request.body)
            turned[len(turned) // 2] ^= 0xFF
            return self._handed_on(request, bytes(turned))
        return self._handed_on(request, request.body)

    def _wrong(self, request: Request) -> Wrong | None:
        with self._lock:
            if request.method == "PUT" and self._uploads:
                return self._uploads.popleft()
            if request.method == "GET" and self._hidden:
                self._hidden -= 1
                return "hide"
        return None

    def _handed_on(self, request: Request, body: bytes) -> Reply:
        way = http.client.HTTPConnection("127.0.0.1", self._behind.port, timeout=30)
        try:
            target = f"{request.path}?{request.query}" if request.query else request.path
            way.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name not in _ONE_HOP:
                    way.putheader(name, value)
            way.endheaders(body)
            answer = way.getresponse()
            content = answer.read()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _ONE_HOP}
            return Reply(answer.status, content, headers)
        finally:
            way.close()


@contextmanager
def hop_store() -> Iterator[HopStore]:
    """Run the server with an empty bucket, and the hop before it."""
    with running_store() as behind:
        behind.make_bucket(BUCKET)
        hop = HopStore(behind)
        hop.server.start()
        try:
            yield hop
        finally:
            hop.server.stop()


def _hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
