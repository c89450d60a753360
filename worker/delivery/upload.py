"""Upload of a job's files to a store: all of them, or none."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.errors import DeliveryFailed
from worker.storage.store_errors import StoreError, StoreFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.storage.object_store import Store

_CLEAN_UP_S = 5.0


@dataclass(frozen=True, slots=True)
class File:
    """A file to be stored under one key."""

    key: str
    data: bytes = field(repr=False)
    content_type: str
    metadata: Mapping[str, str] = field(default_factory=dict)


class Uploader:
    """Uploads files side by side.

    Args:
        threads: How many at once.
        now: A monotonic clock in seconds.
    """

    def __init__(self, threads: int, now: Callable[[], float]) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="upload")
        self._now = now

    def store(self, client: Store, files: Sequence[File], *, deadline: float, linked: bool = True) -> None:
        """Store all of `files` by `deadline`; with `linked`, links to them are handed out.

        Raises:
            DeliveryFailed: one was not taken; names it and the store's code. Those that were are removed, as far as the
                store lets us.
        """
        given_up = threading.Event()

        def put(file: File) -> None:
            if not given_up.is_set():
                client.put(
                    file.key,
                    file.data,
                    content_type=file.content_type,
                    metadata=file.metadata,
                    deadline=deadline,
                    linked=linked,
                )

        running = [self._pool.submit(put, file) for file in files]
        failed = self._first_failure(running, deadline)
        if failed is not None:
            given_up.set()
            threading.Thread(target=self._take_back, args=(client, files, running), daemon=True).start()
            raise _error(failed[1], client, files[failed[0]].key)

    def close(self) -> None:
        """End the threads; uploads that run are waited for."""
        self._pool.shutdown()

    def _first_failure(self, running: list[Future[None]], deadline: float) -> tuple[int, StoreFailure] | None:
        """Wait for all uploads, or for the first that fails, or for the deadline."""
        _, pending = wait(running, timeout=max(0.0, deadline - self._now()), return_when=FIRST_EXCEPTION)
        for number, one in enumerate(running):
            if one not in pending and (error := one.exception()) is not None:
                if not isinstance(error, StoreError):
                    raise error
                return number, error.failure
        late = [number for number, one in enumerate(running) if one in pending]
        return (late[0], StoreFailure("DeadlineExceeded", None, "time is up", retryable=True)) if late else None

    def _take_back(self, client: Store, files: Sequence[File], running: Sequence[Future[None]]) -> None:
        """Remove what was stored for a job that failed, uploads that end late included."""
        wait(running)
        stored = [file.key for file, one in zip(files, running, strict=True) if _is_stored(one.exception())]
        try:
            for key in stored:
                client.delete(key, deadline=self._now() + _CLEAN_UP_S)
        except StoreError:
            return  # the store does not let us: its own lifecycle rules have to


def _is_stored(error: BaseException | None) -> bool:
    return error is None or (isinstance(error, StoreError) and error.failure.dead_link)


def _error(failure: StoreFailure, client: Store, key: str) -> DeliveryFailed:
    target = client.target
    became = f"took {key}, but its link does not open" if failure.dead_link else f"did not take {key}"
    return DeliveryFailed(
        f"the store {target.host} {became}: {failure.message}",
        hint=failure.hint,
        details={
            "store_code": failure.code,
            "store_status": failure.status,
            "host": target.host,
            "bucket": target.bucket,
            "key": key,
            "tries": failure.tries,
            "retry_helps": failure.retryable,
        },
    )
