"""Source of the pictures that a job points at: by URL, or by their key in a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import PydanticCustomError

from worker.common.clock import running
from worker.contract.types.picture_ref import source_of
from worker.errors import InvalidInput
from worker.net.fetch import Fetcher, FetchLimits
from worker.net.fetch_errors import FetchError
from worker.storage.keys import safe_prefix
from worker.storage.store_errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.net.guard import Guard
    from worker.storage.object_store import StoreTarget
    from worker.storage.stores import StoreClients

LARGEST_FILE = 32 * 1024 * 1024


class PictureSource:
    """Reads what a job points at.

    Args:
        guard: Where URLs may lead.
        clients: S3 clients by target.
        store: The operator's store, for pictures of earlier jobs.
        fetch_s: For one picture, seconds.
        now: A monotonic clock in seconds.
    """

    def __init__(
        self,
        guard: Guard,
        clients: StoreClients,
        *,
        store: StoreTarget | None = None,
        fetch_s: float = 30,
        now: Callable[[], float] = running,
    ) -> None:
        self._fetcher = Fetcher(guard)
        self._clients = clients
        self._store = store
        self._fetch_s = fetch_s
        self._now = now

    def abort(self) -> None:
        """End every picture that is on its way, at the worker's end; callable from any thread."""
        self._fetcher.abort()

    def read(self, text: str, path: str, *, target: StoreTarget | None, deadline: float) -> bytes | str:
        """Return the file that `text` stands for, or `text` itself where it is the picture.

        Args:
            text: As the contract accepted it.
            path: Of the field, for errors.
            target: The store that the job brought along.
            deadline: On the clock `now`.

        Raises:
            InvalidInput: it can't be had; says why.
        """
        try:
            kind = source_of(text)
        except PydanticCustomError as error:
            raise InvalidInput.at(path, error.message()) from None
        if kind in ("base64", "data"):
            return text
        if kind == "url":
            return self._fetch(text, path, deadline)
        return self._from_store(text, path, target, deadline)

    def _fetch(self, url: str, path: str, deadline: float) -> bytes:
        seconds = max(1.0, min(self._fetch_s, deadline - self._now()))
        limits = FetchLimits(connect_s=5, read_s=10, total_s=seconds, max_bytes=LARGEST_FILE)
        try:
            with self._fetcher.open(url, limits=limits) as body:
                body.raise_for_status()
                return body.read()
        except FetchError as error:
            raise InvalidInput.at(path, f"can't be fetched: {error}") from None

    def _from_store(self, text: str, path: str, target: StoreTarget | None, deadline: float) -> bytes:
        store = target or self._store
        if store is None:
            raise InvalidInput.at(path, "names a stored picture, but there is no store (send s3Config with the job)")
        if text.lower().startswith("s3://"):
            bucket, _, key = text[5:].partition("/")
            if bucket != store.bucket:
                raise InvalidInput.at(path, f"is not in the bucket of this job's store ({store.bucket})")
        else:
            key = text[4:]
        key = key.lstrip("/")
        prefix = safe_prefix(store.prefix)
        if prefix and not key.startswith(f"{prefix}/"):
            key = f"{prefix}/{key}"
        if not key or ".." in key.split("/"):
            raise InvalidInput.at(path, "names no picture in the store")
        try:
            until = min(deadline, self._now() + self._fetch_s)
            return self._clients.of(store).get(key, deadline=until, most=LARGEST_FILE)
        except StoreError as error:
            raise InvalidInput.at(path, f"can't be read from the store: {error}") from None
