"""The last step of a job: its pictures become base64 or URLs, or a clear error.

Blocking; called in a thread, beside the next job's generation.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.common.cancellation import timeout
from worker.common.clock import running
from worker.delivery.result_files import Delivered, PictureMetadata, ResultFiles, picture_file, preview_answer
from worker.delivery.size import SizeBudget, inline_bytes, plan, shrink
from worker.delivery.streamed import Streamed, StreamedPicture
from worker.delivery.upload import Uploader
from worker.errors import DeliveryFailed, InvalidInput, WrongResult
from worker.images.convert import available, convert
from worker.images.formats.picture import BrokenPicture
from worker.images.grid import grid
from worker.images.preview import Preview, preview
from worker.net.fetch_errors import Refused
from worker.storage.keys import KeyFields, KeyTemplate
from worker.storage.stores import StoreClients

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.contract.types.job import Output
    from worker.delivery.size import Wish
    from worker.images.formats.picture import Picture
    from worker.net.guard import Guard
    from worker.storage.object_store import StoreTarget

PIECE_BYTES = 1_000_000
"""Of one streamed piece's JSON: the platform takes no larger ones."""
RESOLVE_S = 10.0
"""For the look-up of the host of a job's own store."""


class Delivery:
    """Delivers the pictures of jobs; one for the worker's life, used by several threads.

    Args:
        guard: Where jobs' own stores may lead.
        store: The operator's, if any.
        wish: What holds when the client does not say: auto, base64, s3, none.
        limit: Bytes of an answer.
        template: Of pictures' names in a store.
        threads: Pictures encoded or uploaded at once.
        now: A monotonic clock in seconds; `deadline` is on it.

    Attributes:
        clients: The stores' clients, for whoever reads from them.
    """

    def __init__(
        self,
        guard: Guard,
        *,
        store: StoreTarget | None = None,
        wish: Wish = "auto",
        limit: int = 9_500_000,
        template: KeyTemplate | None = None,
        threads: int = 8,
        now: Callable[[], float] = running,
    ) -> None:
        self._guard = guard
        self.operators_store = store
        self._wish: Wish = wish
        self._limit = limit
        self.template = template or KeyTemplate()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="encode")
        self._uploader = Uploader(threads, now)  # threads of its own: a stuck store must not keep others from encoding
        self.clients = StoreClients(guard, connections=threads, now=now)

    async def admit(self, options: Output, store: StoreTarget | None) -> None:
        """Check before any picture is made that its delivery is possible as `options` ask for it.

        Raises:
            InvalidInput: `output.delivery` is s3 and there is no store; a format that this worker can't write; the
                job's own store is not at a public address.
        """
        if options.format is not None and not available(options.format):
            raise InvalidInput.at("output.format", f"this worker can't write {options.format}")
        if (options.delivery or self._wish) == "s3" and store is None and self.operators_store is None:
            raise InvalidInput.at(
                "output.delivery",
                "s3 needs a store: send s3Config with the job, or the operator sets BUCKET_ENDPOINT_URL",
            )
        if store is not None and not store.trusted:
            try:
                async with timeout(RESOLVE_S):
                    await asyncio.to_thread(self._guard.addresses, *store.address)
            except asyncio.TimeoutError:
                raise InvalidInput.at(
                    "s3Config.endpointUrl", f"the host {store.host} could not be resolved within {RESOLVE_S:g} s"
                ) from None
            except OSError:
                raise InvalidInput.at("s3Config.endpointUrl", f"the host {store.host} is unknown") from None
            except Refused as error:
                raise InvalidInput.at("s3Config.endpointUrl", str(error)) from None

    def warm(self) -> None:
        """Import what uploads need and make the operator's client, a second's work, before a job has to wait for it."""
        if self.operators_store is not None:
            self.clients.of(self.operators_store)

    def deliver(
        self,
        job_id: str,
        pictures: Sequence[Picture],
        seeds: Sequence[int],
        *,
        options: Output,
        store: StoreTarget | None = None,
        overhead_bytes: int = 0,
        answer: Mapping[str, Any] | None = None,
        deadline: float,
        streamed: Streamed | None = None,
        sheet: Picture | None = None,
        names: Sequence[KeyFields] = (),
        metadata: Sequence[PictureMetadata] = (),
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
            streamed: What `piece` has done already.
            sheet: The pictures laid out already; None: as a grid, where `options` ask for one.
            names: What names each picture in a store; default: the job, its place and its seed.
            metadata: The facts about each picture, where the answer or the store is to have them.

        Raises:
            OutputTooLarge: nothing allowed fits; says what would.
            DeliveryFailed: the store did not take every picture; those it took are removed, as far as it lets us.
            WrongResult: a picture can't be decoded to be converted.
        """
        done, target = streamed or Streamed(), store or self.operators_store
        fields = names or [KeyFields(job_id, number, seed) for number, seed in enumerate(seeds)]
        result = self._files(job_id, pictures, fields, options, done, sheet=sheet, record=answer)
        carried = replace(result, metadata=[one.inline for one in metadata])
        budget = SizeBudget(self._limit, overhead_bytes + carried.bytes_beside_pictures())
        wish: Wish = options.delivery or self._wish
        route = plan(
            result.visible(),
            budget,
            wish=wish,
            store=target is not None,
            own_store=store is not None,
            may_shrink=bool(options.allow_smaller),
        )
        warnings: list[str] = []
        if route == "smaller":
            smaller = self._smaller(result.visible(), budget, warnings, strip=bool(options.strip_metadata))
            carried = carried.with_visible(smaller)
        warnings += _shortcomings(pictures, carried, options)
        if route == "s3" and target is not None:
            try:
                made = self._stored(replace(result, metadata=[one.stored for one in metadata]), target, deadline, done)
            except DeliveryFailed as error:
                if wish != "auto" or not budget.fits(result.visible()):
                    raise
                warnings.append(f"The store failed ({error.message}), so the pictures are inline.")
            else:
                return replace(made, warnings=[*warnings, *made.warnings])
        if options.record:
            warnings.append("output.record: the pictures are inline, so no file was stored; the answer tells all.")
        return replace(carried.to_delivered(), warnings=warnings)

    def _files(
        self,
        job_id: str,
        pictures: Sequence[Picture],
        names: Sequence[KeyFields],
        options: Output,
        streamed: Streamed,
        *,
        sheet: Picture | None,
        record: Mapping[str, Any] | None,
    ) -> ResultFiles:
        """Return the pictures converted, with what else `options` ask for."""
        apply = map if len(pictures) == 1 else self._pool.map  # a thread for one picture only costs
        ready = list(apply(lambda one: self._ready(streamed, one[0], one[1], options), enumerate(pictures)))
        return ResultFiles(
            job_id,
            ready,
            names,
            template=self.template,
            previews=self._previews(ready, options),
            grid=sheet or self._grid(ready, options),
            record=record if options.record else None,
            hidden=(options.delivery or self._wish) == "none",
        )

    def piece(
        self,
        job_id: str,
        number: int,
        picture: Picture,
        seed: int,
        *,
        options: Output,
        store: StoreTarget | None = None,
        deadline: float,
        streamed: Streamed,
        name: KeyFields | None = None,
    ) -> StreamedPicture:
        """Return one picture of a job as it is told before the others are made.

        It is stored already where all of the job's pictures will be; else it is inline, in a smaller format where it
        would be too large for a piece.

        Args:
            job_id: Names the pictures' folder in a store.
            number: The picture's place among all of the job, from 0.
            picture: As made.
            seed: Its own.
            options: The client's `output`.
            store: The job's own; None: the operator's.
            deadline: When the upload has to be done.
            streamed: Takes note of what needs not be done again by `deliver`.
            name: What names the picture in a store, as for `deliver`.

        Raises:
            OutputTooLarge: it fits into no piece, in the smallest format neither.
            DeliveryFailed: the store did not take it.
            WrongResult: it can't be decoded to be converted.
        """
        ready = self._ready(streamed, number, picture, options)
        wish: Wish = options.delivery or self._wish
        target = store or self.operators_store
        if target is not None and (wish in ("s3", "none") or (wish == "auto" and store is not None)):
            place = self.template.key(target.prefix, name or KeyFields(job_id, number, seed), ready.extension)
            client, file = self.clients.of(target), picture_file(place, ready, seed)
            self._uploader.store(client, [file], deadline=deadline, linked=wish != "none")
            streamed.stored.add(file.key)
            return StreamedPicture(None if wish == "none" else client.url(file.key), ready, key=file.key)
        budget = SizeBudget(PIECE_BYTES, PIECE_BYTES // 50)
        if budget.fits([ready]):
            return StreamedPicture(ready.base64, ready)
        warnings: list[str] = []
        smaller = self._smaller([ready], budget, warnings, strip=bool(options.strip_metadata))
        return StreamedPicture(smaller[0].base64, smaller[0], warnings=tuple(warnings))

    def close(self) -> None:
        """End the threads; uploads that run are waited for."""
        self._pool.shutdown()
        self._uploader.close()

    def _ready(self, streamed: Streamed, number: int, picture: Picture, options: Output) -> Picture:
        """Return a picture as it is delivered; one that was streamed is ready."""
        if number in streamed.ready:
            return streamed.ready[number]
        lossless, strip = bool(options.lossless), bool(options.strip_metadata)
        try:
            done = convert(picture, format=options.format, quality=options.quality, lossless=lossless, strip=strip)
        except BrokenPicture as error:
            raise WrongResult(f"a picture has whole headers but no whole pixels: {error}") from None
        if streamed.keeps:
            streamed.ready[number] = done
        return done

    def _grid(self, pictures: Sequence[Picture], options: Output) -> Picture | None:
        if not options.grid or len(pictures) < 2:  # noqa: PLR2004 - one is no grid
            return None
        kind = options.format or pictures[0].format
        try:
            return grid(pictures, format=kind, quality=options.quality, lossless=bool(options.lossless))
        except BrokenPicture as error:
            raise WrongResult(f"a picture has whole headers but no whole pixels: {error}") from None

    def _smaller(
        self, pictures: list[Picture], budget: SizeBudget, warnings: list[str], *, strip: bool
    ) -> list[Picture]:
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

    def _stored(self, result: ResultFiles, target: StoreTarget, deadline: float, streamed: Streamed) -> Delivered:
        """Store what is not stored yet, all of it or none."""
        client, files = self.clients.of(target), result.files(target.prefix)
        missing = [file for file in files.all() if file.key not in streamed.stored]
        self._uploader.store(client, missing, deadline=deadline, linked=not result.hidden)
        unverified = client.unverified_links_warning()
        return Delivered(
            images=[] if result.hidden else [client.url(file.key) for file in files.pictures],
            route="s3",
            pictures=list(result.pictures),
            keys=[file.key for file in files.pictures],
            previews=[
                preview_answer(one, None if file is None else client.url(file.key))
                for one, file in zip(result.previews, files.thumbnails, strict=True)
            ],
            metadata=[file.key if result.hidden else client.url(file.key) for file in files.metadata],
            grid=None if files.grid is None else client.url(files.grid.key),
            record=None if files.record is None else client.url(files.record.key),
            warnings=[] if unverified is None else [unverified],
            bytes=sum(len(file.data) for file in files.pictures),
        )


def _shortcomings(made: Sequence[Picture], result: ResultFiles, options: Output) -> list[str]:
    """Return warnings about what `options` ask for and the delivered pictures do not have."""
    found = []
    notes_lost = any(was.infotext and not now.infotext for was, now in zip(made, result.pictures, strict=True))
    if notes_lost and not options.strip_metadata:
        found.append("The parameters are too long for a JPEG's notes and were left out; `info` has them.")
    if options.grid and result.grid is None:
        found.append("output.grid: there is one picture, which needs no grid.")
    return found
