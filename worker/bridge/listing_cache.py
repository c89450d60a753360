"""Cache of an endpoint's listings, kept in a file: a client that opens asks for a dozen of them, and wakes no GPU."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.common.atomic_files import write_atomically
from worker.common.cancellation import of_others_too
from worker.serving.gateway import JobError
from worker.telemetry.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    Ask = Callable[[str], Awaitable[Any]]

STALE_S = 3600.0
"""Age at which a listing is asked for anew, once a worker is awake anyway."""

_log = get_logger("bridge")


class ListingsUnreadable(Exception):
    """The file of listings is none; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class CachedListing:
    """One listing, or the endpoint's refusal of it.

    Attributes:
        answer: In its API's shape.
        refused: `answer` is the error of the job that asked for it.
        asked_at: Seconds since 1970.
    """

    answer: Any
    refused: bool
    asked_at: float


class ListingCache:
    """Answers listings from memory; lives in one event loop.

    Args:
        ask: Returns a listing from the endpoint, which may wake a worker; raises JobError.
        file: Where listings are kept; None: nowhere.
        now: Seconds since 1970.

    Raises:
        ListingsUnreadable: `file` holds something else.
    """

    def __init__(self, ask: Ask, file: Path | None, *, now: Callable[[], float] = time.time) -> None:
        self._ask = ask
        self._file = file
        self._now = now
        self._listings = _read(file) if file is not None and file.exists() else {}
        self._asking: dict[str, asyncio.Task[Any]] = {}

    async def get(self, path: str) -> Any:
        """Return the listing at `path`; one that is not known yet is asked for once, however many clients want it.

        Raises:
            JobError: the endpoint refuses it.
        """
        known = self._listings.get(path)
        if known is None:
            _log.info("a listing that is not kept yet wakes the endpoint", path=path)
            known = await of_others_too(self._asked(path))
        if known.refused:
            raise JobError(known.answer)
        return known.answer

    async def refresh_stale(self) -> None:
        """Ask anew for listings that are old; call it while a worker is awake."""
        oldest = self._now() - STALE_S
        for path in [path for path, listing in self._listings.items() if listing.asked_at < oldest]:
            try:
                await of_others_too(self._asked(path))
            except Exception as error:  # noqa: BLE001 - the old one serves on
                _log.debug("a listing was not refreshed", path=path, why=repr(error))

    def expire(self) -> None:
        """Count every listing as old: the endpoint's models have changed."""
        self._listings = {path: replace(listing, asked_at=0.0) for path, listing in self._listings.items()}

    def _asked(self, path: str) -> asyncio.Task[CachedListing]:
        if path not in self._asking:
            self._asking[path] = asyncio.ensure_future(self._learn(path))
            self._asking[path].add_done_callback(lambda _: self._asking.pop(path))
        return self._asking[path]

    async def _learn(self, path: str) -> CachedListing:
        try:
            listing = CachedListing(await self._ask(path), refused=False, asked_at=self._now())
        except JobError as error:
            if error.answer.get("fault") != "client":
                raise
            listing = CachedListing(error.answer, refused=True, asked_at=self._now())
        self._listings[path] = listing
        if self._file is not None:
            await asyncio.to_thread(_write, self._file, dict(self._listings))
        return listing


def _read(file: Path) -> dict[str, CachedListing]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {
            str(path): CachedListing(entry["answer"], bool(entry.get("refused")), float(entry.get("asked_at", 0)))
            for path, entry in content["listings"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ListingsUnreadable(f"{file} is no file of listings: {type(error).__name__}: {error}") from None


def _write(file: Path, listings: dict[str, CachedListing]) -> None:
    content = {
        path: {"answer": listing.answer, "refused": listing.refused, "asked_at": listing.asked_at}
        for path, listing in listings.items()
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps({"listings": content}, ensure_ascii=False, indent=1).encode())
    except OSError as error:
        _log.warning("the listings can't be kept", file=str(file), why=error.strerror)
