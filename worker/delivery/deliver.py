"""The last step of a job: its pictures become base64 or URLs, or a clear error.

Blocking; called in a thread, beside the next job's generation.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from worker.delivery.failure import Failure
from worker.delivery.keys import key
from worker.delivery.s3 import S3Clients, StoreFailed
from worker.delivery.shrink import shrink
from worker.delivery.size import Budget, inline_bytes, plan
from worker.errors import DeliveryFailed, InvalidInput, WrongResult
from worker.images.convert import available, convert
from worker.images.picture import BrokenPicture
from worker.net.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.contract.job import Output
    from worker.delivery.s3 import S3Client
    from worker.delivery.size import Wish
    from worker.delivery.target import S3Target
    from worker.images.picture import Picture
    from worker.net.guard import Guard

_CLEAN_UP_S = 5.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the answer carries.

    Attributes:
        images: base64 or URLs, in order.
        route: Which of the two.
        pictures: As delivered, after any conversion.
        keys: In the store, in order; empty inline.
        warnings: What the client should know: a smaller format, a store that failed.
        bytes: Of all files together.
        phase_ms: `encode` and `upload`, in milliseconds.
    """

    images: list[str] = field(repr=False)
    route: Literal["inline", "s3"]
    pictures: list[Picture]
    keys: list[str]
    warnings: list[str]
    bytes: int
    phase_ms: dict[str, float]


class Delivery:
    """Delivers the pictures of jobs; one for the worker's life, used by several threads.

    Args:
        guard: Where jobs' own stores may lead.
        store: The operator's, if any.
        wish: What holds when the client does not say: auto, base64, s3.
        limit: Bytes of an answer.
        threads: Pictures encoded or uploaded at once.
        now: A monotonic clock in seconds; `deadline` is on it.

    Attributes:
        clients: The stores' clients, for whoever reads from them.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        store: S3Target | None = None,
        wish: Wish = "auto",
        limit: int = 9_500_000,
        threads: int = 8,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._guard = guard
        self._store = store
        self._wish: Wish = wish
        self._limit = limit
        self._now = now
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="deliver")
        self.clients = S3Clients(guard, connections=threads, now=now)

    def admit(self, options: Output, store: S3Target | None) -> None:
        """Check before any picture is made that there is the way out which `options` ask for.

        Raises:
            InvalidInput: `output.delivery` is s3 and there is no store; a format that this worker can't write; the
                job's own store is not at a public address.
        """
        if options.format is not None and not available(options.format):
            raise InvalidInput.at("output.format", f"this worker can't write {options.format}")
        if (options.delivery or self._wish) == "s3" and store is None and self._store is None:
            raise InvalidInput.at(
                "output.delivery",
                "s3 needs a store: send s3Config with the job, or the operator sets BUCKET_ENDPOINT_URL",
            )
        if store is not None and not store.trusted:
            try:
                self._guard.addresses(*store.address)
            except OSError:
                raise InvalidInput.at("s3Config.endpointUrl", f"the host {store.host} is unknown") from None
            except Refused as error:
                raise InvalidInput.at("s3Config.endpointUrl", str(error)) from None

    def warm(self) -> None:
        """Import what uploads need and make the operator's client, a second's work, before a job has to wait for it."""
        if self._store is not None:
            self.clients.of(self._store)

    def deliver(
        self,
        job_id: str,
        pictures: Sequence[Picture],
        seeds: Sequence[int],
        *,
        options: Output,
        store: S3Target | None = None,
        overhead_bytes: int = 0,
        deadline: float,
    ) -> Delivered:
        """Return what the answer carries for `pictures`.

        Args:
            job_id: Names the pictures' folder in a store.
            pictures: As made, in order.
            seeds: One for each.
            options: The client's `output`.
            store: The job's own; None: the operator's.
            overhead_bytes: Of the answer's JSON without the pictures, the platform's envelope included.
            deadline: When the upload has to be done.

        Raises:
            OutputTooLarge: nothing allowed fits; says what would.
            DeliveryFailed: the store did not take every picture; those it took are removed, as far as it lets us.
            WrongResult: a picture can't be decoded to be converted.
        """
        started = self._now()
        strip = bool(options.strip_metadata)
        ready = list(self._pool.map(lambda one: self._converted(one, options, strip=strip), pictures))
        target = store or self._store
        budget = Budget(self._limit, overhead_bytes)
        wish: Wish = options.delivery or self._wish
        may_shrink = bool(options.allow_smaller)
        route = plan(
            ready, budget, wish=wish, store=target is not None, own_store=store is not None, may_shrink=may_shrink
        )
        warnings: list[str] = []
        if route == "smaller":
            ready = self._smaller(ready, budget, warnings, strip=strip)
        encoded = self._now()
        if route == "s3" and target is not None:
            try:
                keys, urls = self._upload(job_id, ready, seeds, target, deadline)
            except DeliveryFailed as error:
                if wish != "auto" or not budget.fits(ready):
                    raise
                warnings.append(f"The store failed ({error.message}), so the pictures are inline.")
            else:
                return self._delivered(urls, "s3", ready, keys, warnings, started, encoded)
        return self._delivered([one.base64 for one in ready], "inline", ready, [], warnings, started, encoded)

    def close(self) -> None:
        """End the threads; uploads that run are waited for."""
        self._pool.shutdown()

    def _converted(self, picture: Picture, options: Output, *, strip: bool) -> Picture:
        lossless = bool(options.lossless)
        try:
            return convert(picture, format=options.format, quality=options.quality, lossless=lossless, strip=strip)
        except BrokenPicture as error:
            raise WrongResult(f"a picture has whole headers but no whole pixels: {error}") from None

    def _smaller(self, pictures: list[Picture], budget: Budget, warnings: list[str], *, strip: bool) -> list[Picture]:
        before = budget.overhead + inline_bytes(pictures)
        smaller, (kind, quality) = shrink(pictures, budget, strip=strip, apply=self._pool.map)
        warnings.append(
            f"Delivered as {kind} at quality {quality}: as {pictures[0].format} the answer had {before} bytes, "
            f"and the limit is {budget.limit}."
        )
        return smaller

    def _upload(
        self, job_id: str, pictures: list[Picture], seeds: Sequence[int], target: S3Target, deadline: float
    ) -> tuple[list[str], list[str]]:
        """Store all pictures or none; return keys and URLs."""
        client = self.clients.of(target)
        keys = [
            key(target.prefix, job_id, number, seed, picture.extension)
            for number, (picture, seed) in enumerate(zip(pictures, seeds, strict=True))
        ]
        given_up = threading.Event()

        def put(name: str, picture: Picture, seed: int) -> None:
            if given_up.is_set():
                return
            metadata = {"seed": str(seed), "width": str(picture.width), "height": str(picture.height)}
            client.put(name, picture.data, content_type=picture.content_type, metadata=metadata, deadline=deadline)

        running = [self._pool.submit(put, *each) for each in zip(keys, pictures, seeds, strict=True)]
        failed = self._first_failure(running, deadline)
        if failed is None:
            return keys, [client.url(name) for name in keys]
        given_up.set()
        threading.Thread(target=self._take_back, args=(client, keys, running), daemon=True).start()
        number, failure = failed
        raise _error(failure, target, keys[number])

    def _first_failure(self, running: list[Future[None]], deadline: float) -> tuple[int, Failure] | None:
        """Wait for all uploads, or for the first that fails, or for the deadline."""
        _, pending = wait(running, timeout=max(0.0, deadline - self._now()), return_when=FIRST_EXCEPTION)
        for number, one in enumerate(running):
            if one not in pending and (error := one.exception()) is not None:
                if not isinstance(error, StoreFailed):
                    raise error
                return number, error.failure
        late = [number for number, one in enumerate(running) if one in pending]
        return (late[0], Failure("DeadlineExceeded", None, "time is up", retryable=True)) if late else None

    def _take_back(self, client: S3Client, keys: Sequence[str], running: Sequence[Future[None]]) -> None:
        """Remove what was stored for a job that failed, uploads that end late included."""
        wait(running)
        stored = [name for name, one in zip(keys, running, strict=True) if one.exception() is None]
        try:
            for name in stored:
                client.delete(name, deadline=self._now() + _CLEAN_UP_S)
        except StoreFailed:
            return  # the store does not let us: its own lifecycle rules have to

    def _delivered(
        self,
        images: list[str],
        route: Literal["inline", "s3"],
        pictures: list[Picture],
        keys: list[str],
        warnings: list[str],
        started: float,
        encoded: float,
    ) -> Delivered:
        phases = {"encode": (encoded - started) * 1000, "upload": (self._now() - encoded) * 1000}
        return Delivered(images, route, pictures, keys, warnings, sum(len(one.data) for one in pictures), phases)


def _error(failure: Failure, target: S3Target, name: str) -> DeliveryFailed:
    return DeliveryFailed(
        f"the store {target.host} did not take {name}: {failure.message}",
        hint=failure.hint,
        details={
            "store_code": failure.code,
            "store_status": failure.status,
            "host": target.host,
            "bucket": target.bucket,
            "key": name,
            "tries": failure.tries,
            "retry_helps": failure.retryable,
        },
    )
