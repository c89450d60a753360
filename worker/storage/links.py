"""Verification of the links to a store's pictures: each is opened as a client would open it.

That an upload succeeded says nothing about it: the key may write and not read, the base of plain URLs may be wrong or
its bucket private, the region or the way of addressing may fit uploads only. What all links of a store have in common
is looked at with the first one and then now and again, so that jobs do not wait for it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from worker.common.clock import running
from worker.net.fetch import Fetcher, FetchLimits
from worker.net.fetch_errors import FetchError
from worker.storage.store_errors import StoreFailure, passes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.net.fetch import Body
    from worker.net.guard import Guard
    from worker.settings import LinkCheck

PROVEN_S = 3600.0
"""For so long a store whose link opened is believed that others do."""
UNKNOWN_S = 60.0
"""After so long a link is looked at again where nothing could be found out."""
LOOK_S = 5.0
SHORTEST_LOOK_S = 0.5
_PART = 206
_FINE = frozenset({200, _PART})
_ABSENT = frozenset({404, 410})
_TOLD_BYTES = 4096
_CODE = re.compile(rb"<Code>([A-Za-z]{3,60})</Code>")


class DeadLink(Exception):
    """A link that does not open."""

    def __init__(self, failure: StoreFailure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class LinkVerifier:
    """The verified state of one store's links; thread-safe.

    Args:
        guard: Where they may lead.
        check: `once` and then every hour, `always`, or `off`.
        verify: See `Fetcher`; what the store's own client trusts.
        proxies: See `Fetcher`; what the store's own client goes through.
        now: A monotonic clock in seconds.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        check: LinkCheck,
        verify: bool | str = True,
        proxies: Callable[[str], Mapping[str, str]] = lambda _: {},
        now: Callable[[], float] = running,
    ) -> None:
        self._fetcher = Fetcher(guard, verify=verify, proxies=proxies, now=now)
        self._check = check
        self._now = now
        self._known_until = float("-inf")
        self._dead: DeadLink | None = None
        self._warning: str | None = None

    def prove(self, url: str, deadline: float) -> bool:
        """Make sure that `url` opens, where that is not known; return False where a look could not tell.

        A host that can't be reached from here proves nothing; `unverified_warning` tells as long as that is so.

        Raises:
            DeadLink: it was answered, and not with what is to be there.
        """
        if self._check == "off" or (self._check == "once" and self._now() < self._known_until):
            return True
        left = deadline - self._now()
        if left < SHORTEST_LOOK_S:
            if self._dead is not None:
                raise self._dead
            return True
        try:
            proven = self._looked_at(url, min(LOOK_S, left / 2))
        except DeadLink as dead:
            self._dead = dead
            raise
        if proven:
            self._dead = self._warning = None
        self._known_until = self._now() + (PROVEN_S if proven else UNKNOWN_S)
        return proven

    def unverified_warning(self) -> str | None:
        """Return what clients should know about the links as things are; None: nothing."""
        return self._warning

    def _looked_at(self, url: str, seconds: float) -> bool:
        """Return whether `url` has been seen to open; raises DeadLink."""
        limits = FetchLimits(connect_s=seconds, read_s=seconds, total_s=seconds)
        try:
            with self._fetcher.open(url, headers={"Range": "bytes=0-0"}, limits=limits) as body:
                return _opens(body)
        except FetchError as error:
            self._warning = f"Nobody has seen that links to the store open: from this worker, {error}."
            return False


def _opens(body: Body) -> bool:
    """Return whether a link's answer proves that it opens; False: it proves nothing. Raises DeadLink."""
    if body.status in _FINE:
        if body.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise DeadLink(_dead(body, "DeadLink", "with a web page"))
        if body.status == _PART:
            _beginning(body)  # a byte: so that the connection is kept
        return True
    found = _CODE.search(_beginning(body))
    code = found[1].decode() if found else "DeadLink"
    if passes(code, body.status):
        return False
    raise DeadLink(_dead(body, code, f"{body.status} {code}" if found else str(body.status)))


def _dead(body: Body, code: str, said: str) -> StoreFailure:
    message = f"{body.host} answers {said}"
    return StoreFailure(code, body.status, message, retryable=body.status in _ABSENT, dead_link=True)


def _beginning(body: Body) -> bytes:
    try:
        return next(body.chunks(_TOLD_BYTES), b"")
    except FetchError:
        return b""
