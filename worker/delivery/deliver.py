"""The last step of a job: its pictures become base64 or URLs, or a clear error.

Blocking; called in a thread, beside the next job's generation.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from worker.delivery.keys import folder, key
from worker.delivery.s3 import S3Clients
from worker.delivery.shrink import shrink
from worker.delivery.size import Budget, inline_bytes, plan
from worker.delivery.upload import File, Uploader
from worker.errors import DeliveryFailed, InvalidInput, WrongResult
from worker.images.convert import available, convert
from worker.images.picture import BrokenPicture
from worker.images.preview import Preview, preview
from worker.net.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.contract.job import Output
    from worker.delivery.size import Wish
    from worker.delivery.target import S3Target
    from worker.images.picture import Picture
    from worker.net.guard import Guard


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the answer carries.

    Attributes:
        images: base64 or URLs, in order.
        route: Which of the two.
        pictures: As delivered, after any conversion.
        bytes: Of all pictures' files together.
        keys: In the store, in order; empty inline.
        previews: `{thumbnail, blurhash}` for each picture, of these what was asked for; the thumbnail is base64 or a
            URL as the pictures are.
        record: URL of the file that tells how the pictures were made.
        warnings: What the client should know: a smaller format, a store that failed.
        phase_ms: `encode` and `upload`, in milliseconds.
    """

    images: list[str] = field(repr=False)
    route: Literal["inline", "s3"]
    pictures: list[Picture]
    bytes: int
    keys: list[str] = field(default_factory=list)
    previews: list[dict[str, str]] = field(default_factory=list, repr=False)
    record: str | None = None
    warnings: list[str] = field(default_factory=list)
    phase_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Job:
    id: str
    pictures: Sequence[Picture]
    seeds: Sequence[int]
    previews: Sequence[Preview]
    record: Mapping[str, Any] | None


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
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encode")
        self._uploader = Uploader(threads, now)  # threads of its own: a stuck store must not keep others from encoding
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
        answer: Mapping[str, Any] | None = None,
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
            answer: The answer without its pictures, for the record that `options` may ask for.
            deadline: When the upload has to be done.

        Raises:
            OutputTooLarge: nothing allowed fits; says what would.
            DeliveryFailed: the store did not take every picture; those it took are removed, as far as it lets us.
            WrongResult: a picture can't be decoded to be converted.
        """
        started = self._now()
        strip = bool(options.strip_metadata)
        apply = map if len(pictures) == 1 else self._pool.map  # a thread for one picture only costs
        ready = list(apply(lambda one: self._converted(one, options, strip=strip), pictures))
        previews = self._previews(ready, options)
        small = [_preview_answer(one, one.thumbnail.base64 if one.thumbnail else None) for one in previews]
        target = store or self._store
        budget = Budget(self._limit, overhead_bytes + (len(json.dumps({"previews": small})) if small else 0))
        wish: Wish = options.delivery or self._wish
        route = plan(
            ready,
            budget,
            wish=wish,
            store=target is not None,
            own_store=store is not None,
            may_shrink=bool(options.allow_smaller),
        )
        warnings: list[str] = []
        if route == "smaller":
            ready = self._smaller(ready, budget, warnings, strip=strip)
        job = _Job(job_id, ready, seeds, previews, answer if options.record else None)
        encoded = self._now()
        made: Delivered | None = None
        if route == "s3" and target is not None:
            try:
                made = self._stored(job, target, deadline)
            except DeliveryFailed as error:
                if wish != "auto" or not budget.fits(ready):
                    raise
                warnings.append(f"The store failed ({error.message}), so the pictures are inline.")
        if made is None:
            made = _inline(job)
            if options.record:
                warnings.append("output.record: the pictures are inline, so no file was stored; the answer tells all.")
        phases = {"encode": (encoded - started) * 1000, "upload": (self._now() - encoded) * 1000}
        return replace(made, warnings=warnings, phase_ms=phases)

    def close(self) -> None:
        """End the threads; uploads that run are waited for."""
        self._pool.shutdown()
        self._uploader.close()

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

    def _previews(self, pictures: Sequence[Picture], options: Output) -> list[Preview]:
        if options.thumbnail is None and not options.blurhash:
            return []
        hashed = bool(options.blurhash)
        try:
            return list(self._pool.map(lambda one: preview(one, side=options.thumbnail, blurhash=hashed), pictures))
        except BrokenPicture as error:
            raise WrongResult(f"a picture has whole headers but no whole pixels: {error}") from None

    def _stored(self, job: _Job, target: S3Target, deadline: float) -> Delivered:
        """Store pictures, thumbnails and record, all or none."""
        client = self.clients.of(target)
        pictures = [
            _file(key(target.prefix, job.id, number, seed, picture.extension), picture, seed)
            for number, (picture, seed) in enumerate(zip(job.pictures, job.seeds, strict=True))
        ]
        thumbnails = [
            None if one.thumbnail is None else _file(f"{file.key}.thumbnail.jpg", one.thumbnail, seed)
            for one, file, seed in zip(job.previews, pictures, job.seeds, strict=False)
        ]
        record = None if job.record is None else _record(target.prefix, job.id, job.record, pictures)
        extra = [file for file in (*thumbnails, record) if file is not None]
        self._uploader.store(client, [*pictures, *extra], deadline=deadline)
        return Delivered(
            images=[client.url(file.key) for file in pictures],
            route="s3",
            pictures=list(job.pictures),
            keys=[file.key for file in pictures],
            previews=[
                _preview_answer(one, None if file is None else client.url(file.key))
                for one, file in zip(job.previews, thumbnails, strict=True)
            ],
            record=None if record is None else client.url(record.key),
            bytes=sum(len(file.data) for file in pictures),
        )


def _inline(job: _Job) -> Delivered:
    return Delivered(
        images=[one.base64 for one in job.pictures],
        route="inline",
        pictures=list(job.pictures),
        previews=[_preview_answer(one, one.thumbnail.base64 if one.thumbnail else None) for one in job.previews],
        bytes=sum(len(one.data) for one in job.pictures),
    )


def _preview_answer(one: Preview, thumbnail: str | None) -> dict[str, str]:
    both = {"thumbnail": thumbnail, "blurhash": one.blurhash}
    return {name: value for name, value in both.items() if value is not None}


def _file(name: str, picture: Picture, seed: int) -> File:
    metadata = {"seed": str(seed), "width": str(picture.width), "height": str(picture.height)}
    return File(name, picture.data, picture.content_type, metadata)


def _record(prefix: str, job_id: str, answer: Mapping[str, Any], pictures: Sequence[File]) -> File:
    """Return the file that tells how the pictures were made: the answer, with keys in the place of pictures."""
    told = {**answer, "images": [file.key for file in pictures]}
    text = json.dumps(told, ensure_ascii=False, indent=1, allow_nan=False)
    return File(f"{folder(prefix, job_id)}/job.json", text.encode("utf-8", "replace"), "application/json")
