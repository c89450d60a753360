"""One attempt to download a model from one source: its name, room, bytes, checks and registry entry."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying, retry_if_exception_type

from worker.errors import DownloadRefused, HashMismatch, NoSpace, VolumeUnavailable, WorkerError
from worker.models.download import library
from worker.models.download.context import Stopped, pause
from worker.models.download.download_errors import fetch_error
from worker.models.download.partial import DiskFull, Partial
from worker.models.download.transfer import Transfer
from worker.models.format.detect import Facts, detect, finer_base, is_usable_as, place_of, with_article
from worker.models.format.filenames import PICKLE_ENDINGS, safe_stem, short_hash, split_ending
from worker.models.format.safetensors import SAFETENSORS, BrokenHeader, is_fine_so_far, read_header
from worker.models.sources.http_file import Busy, Version
from worker.models.sources.references import token_for
from worker.models.volume.availability import is_broken
from worker.models.volume.registry import Entry, as_measured
from worker.net.fetch_errors import FetchError, Unreachable

if TYPE_CHECKING:
    from worker.models.download.context import DownloadContext, DownloadedFile, DownloadJob
    from worker.models.sources.model_source import Locator, Offer
    from worker.settings import ModelKind

log = logging.getLogger(__name__)


class TakenOver(Exception):
    """Another worker took this one for dead and went on with its partial file."""


class Attempt:
    """Brings one model from one of its sources.

    Args:
        means: With what.
        order: Which model.
        locator: From where.
        token: For that source only.
    """

    def __init__(self, means: DownloadContext, order: DownloadJob, locator: Locator, token: str | None) -> None:
        self._means = means
        self._order = order
        self._kind: ModelKind = order.resolution.kind
        self._locator = locator
        self._token = token
        self._file = ""

    def run(self) -> str:
        """Return the model's key in the registry.

        Raises:
            DownloadFailed, DownloadRefused, HashMismatch, ModelNotFound, NoSpace: it can't be had from here.
            VolumeUnavailable: there is nowhere to put it any more.
            TakenOver: another worker went on with it.
            Stopped: nobody wants it any more.
        """
        try:
            offer = self._offer()
            there = self._already_there(offer)
            if there is not None:
                return there
            self._name(offer.name, None, 0)
            identity = f"{self._order.resolution.identity} {self._locator.key}"
            folder = self._means.inventory.volume.incoming(self._kind)
            partial = Partial(folder, identity, self._means.owner, adopt=self._order.lease is not None)
        except (FetchError, BrokenHeader) as error:
            raise fetch_error(error, self._locator, self._kind, self._order.path) from None
        except OSError as error:
            raise self._unwritable(error) from None
        keep = False
        try:
            arrived = self._with_room(partial, offer)
            return self._finish(partial, offer, arrived)
        except FileNotFoundError:
            raise TakenOver from None
        except OSError as error:
            raise self._unwritable(error) from None
        except Stopped:
            keep = True
            raise
        except (FetchError, BrokenHeader) as error:
            keep = isinstance(error, FetchError) and error.retryable and partial.version.resumable
            raise fetch_error(error, self._locator, self._kind, self._order.path) from None
        finally:
            partial.close()
            if not keep:
                partial.discard()

    def _offer(self) -> Offer:
        """Ask the source what it offers, again while it is busy or out of reach. Raises `FetchError`, `Stopped`."""
        rules, stop = self._means.rules, self._order.state.stop

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            if not isinstance(error, FetchError):
                raise TypeError("only failed fetches are tried again")
            return pause(error, state.attempt_number, rules.retry, rules.jitter())

        def sleep(seconds: float) -> None:
            if stop.wait(seconds):
                raise Stopped

        retrying = Retrying(retry=retry_if_exception_type(FetchError), wait=wait, sleep=sleep)
        return retrying(self._means.sources.offer, self._locator, token=self._token)

    def _already_there(self, offer: Offer) -> str | None:
        """Return the key of the same file that came by another reference; it answers to this one too from now on."""
        inventory = self._means.inventory
        keys = {self._locator.key, *offer.also}
        for entry in inventory.entries().values():
            if entry.kind != self._kind or not keys.intersection((entry.source, *entry.also)):
                continue
            file = inventory.volume.look(entry.kind, entry.file)
            now = as_measured(entry, file.size, file.modified_ns) if file is not None else None
            if now is None or now.sha256 is None or not now.sha256.startswith(self._order.ref.sha256 or ""):
                continue
            inventory.record(replace(entry, also=tuple(sorted({*entry.also, *keys} - {entry.source or ""}))))
            return entry.key
        return None

    def _with_room(self, partial: Partial, offer: Offer) -> DownloadedFile:
        """Fetch; when the volume is full mid-way, make room once and go on."""
        try:
            return self._fetch(partial, offer)
        except DiskFull:
            total, there = self._order.state.total, self._order.state.done
            missing = max(0, (total or 0) - there) or self._means.rules.max_bytes // 100
            if not self._room(missing, full=True):
                raise self._no_space(missing) from None
        try:
            return self._fetch(partial, offer)
        except DiskFull:
            raise self._no_space(missing) from None

    def _fetch(self, partial: Partial, offer: Offer) -> DownloadedFile:
        if offer.library is not None:
            self._name(offer.name, offer.size, 0)
            folder = self._means.inventory.volume.incoming(self._kind) / f"hub-{short_hash(self._locator.key)}"
            try:
                return library.download(
                    offer, partial, folder, state=self._order.state, check=self._check, on_bytes=self._tell
                )
            except (Busy, Unreachable) as error:  # the file can be read in ranges too
                log.warning("the source's library could not fetch %s (%s); trying ranges", self._locator.key, error)
                shutil.rmtree(folder, ignore_errors=True)

        def on_name(version: Version, suggested: str | None) -> None:
            told = next((each for each in (offer.name, suggested) if each and split_ending(each)[1]), None)
            self._name(told or offer.name or suggested, version.size, partial.allocated)

        return Transfer(
            offer.remote,
            partial,
            retry=self._means.rules.retry,
            max_bytes=self._means.rules.max_bytes,
            check=self._check,
            on_name=on_name,
            on_bytes=self._tell,
            stop=self._order.state.stop,
            jitter=self._means.rules.jitter,
        ).run()

    def _name(self, offered: str | None, size: int | None, there: int) -> None:
        """Decide the file's name, refuse what may not be fetched, and see that there is room for it."""
        own = self._order.resolution.name or ""
        ending = split_ending(offered or "")[1] or split_ending(own)[1] or ".safetensors"
        catalog = self._order.resolution.catalog
        is_pinned = catalog is not None and catalog.sha256 is not None  # known to the byte, and compared at the end
        if ending in PICKLE_ENDINGS and not (is_pinned or self._means.rules.allow_pickle):
            raise DownloadRefused(
                f"{self._order.at}{self._locator.key} is a {ending} file, which can run code when it is loaded",
                hint="Use a .safetensors file; the operator can allow others with MODEL_ALLOW_PICKLE.",
                details={"path": self._order.path, "source": self._locator.key},
            )
        stem = self._order.resolution.stem
        if stem is None:
            stem = f"{safe_stem(offered or PurePosixPath(own).name or self._kind)}-{self._order.resolution.suffix}"
        self._file = f"{stem}{ending}"
        if size is not None:
            self._order.state.total = size
            self._fits_the_catalog(size)
            if size > there and not self._room(size - there):
                raise self._no_space(size - there)

    def _room(self, size: int, *, full: bool = False) -> bool:
        folder = self._means.inventory.volume.folders[self._kind]
        keep = frozenset({f"{self._kind}/{self._file}"})
        return self._means.space.make_room(folder, size, keep=keep, full=full)

    def _no_space(self, size: int) -> NoSpace:
        return NoSpace(
            f"{self._order.at}no room for {self._locator.key}: {size} bytes are missing",
            hint="Remove or unpin models, lower MODEL_FREE_BYTES, or use a larger volume.",
            details={"path": self._order.path, "bytes": size},
        )

    def _unwritable(self, error: OSError) -> NoSpace | VolumeUnavailable:
        why = error.strerror or type(error).__name__
        if is_broken(error):
            return self._means.inventory.availability.unavailable(self._kind, why, path=self._order.path)
        return NoSpace(
            f"{self._order.at}the volume can't be written: {why}",
            hint="Is the volume read-only or full?",
            details={"path": self._order.path},
        )

    def _check(self, fd: int, front: int, size: int | None) -> bool:
        return is_fine_so_far(self._file, fd, front, size)

    def _tell(self, done: int, total: int | None) -> None:
        self._order.state.tell(done, total)
        if self._order.lease is not None:
            self._order.lease.report(done, total)

    def _finish(self, partial: Partial, offer: Offer, arrived: DownloadedFile) -> str:
        """Check the whole file, write it down, and give it its name."""
        if arrived.size == 0:
            raise BrokenHeader("the file has 0 bytes")
        self._compare(offer, arrived)
        if self._order.lease is not None and not self._order.lease.is_ours():
            raise TakenOver  # this process was frozen meanwhile, and another worker has the download now
        facts = self._facts(partial)
        known = self._order.resolution.catalog
        clock = self._means.inventory.now()
        before = self._means.inventory.entries().get(f"{self._kind}/{self._file}")
        entry = Entry(
            kind=self._kind,
            file=self._file,
            size=arrived.size,
            sha256=arrived.sha256,
            changed=partial.path.stat().st_mtime_ns,
            source=self._locator.key,
            also=offer.also,
            name=self._order.resolution.name,
            base_model=(known.base_model if known else None) or finer_base(offer.base_model, facts.base_model),
            trigger_words=offer.trigger_words or facts.trigger_words,
            etag=arrived.tag,
            fetched_at=clock,
            last_used=clock,
            pinned=before is not None and before.pinned,
            left_open=offer.left_open,
        )
        self._means.marks.hold([entry.key])
        try:
            self._means.inventory.record(entry)  # before the name: a file is never there without its source and hash
            partial.move_to(self._means.inventory.volume.path(self._kind, self._file))
        finally:
            self._means.marks.release([entry.key])
        return entry.key

    def _compare(self, offer: Offer, arrived: DownloadedFile) -> None:
        """Compare with what the job, the catalog and the source say the file is. Raises `HashMismatch`."""
        self._fits_the_catalog(arrived.size)
        catalog = self._order.resolution.catalog.sha256 if self._order.resolution.catalog else None
        for said_by, expected in (
            ("the job", self._order.ref.sha256),
            ("the catalog", catalog),
            ("its source", offer.sha256),
        ):
            if expected is not None and not arrived.sha256.startswith(expected):
                raise HashMismatch(
                    f"{self._order.at}{self._locator.key} has the SHA-256 {arrived.sha256}; {said_by} says {expected}",
                    hint="The file was not kept. Check the hash, or that the address leads to the right version.",
                    details={"path": self._order.path, "expected": expected, "measured": arrived.sha256},
                )

    def _fits_the_catalog(self, size: int) -> None:
        """Raise HashMismatch where the catalog knows the file's size and it is another."""
        expected = self._order.resolution.catalog.size if self._order.resolution.catalog else None
        if expected is not None and size != expected:
            raise HashMismatch(
                f"{self._order.at}{self._locator.key} has {size} bytes; the catalog says {expected}",
                hint="The file was not kept. Its source has changed it, or the address leads elsewhere.",
                details={"path": self._order.path, "expected_bytes": expected, "bytes": size},
            )

    def _facts(self, partial: Partial) -> Facts:
        if not self._file.endswith(SAFETENSORS):
            return Facts(None, None)
        facts = detect(read_header(partial.path))
        if not is_usable_as(facts.kind, self._kind):
            raise DownloadRefused(
                f"{self._order.at}{self._locator.key} is {with_article(facts.kind)}, not {with_article(self._kind)}",
                hint=place_of(facts.kind),
                details={"path": self._order.path, "kind": self._kind, "found": facts.kind},
            )
        return facts


def bring(order: DownloadJob, means: DownloadContext) -> str:
    """Fetch a model; return its key in the registry.

    Raises:
        DownloadFailed, DownloadRefused, HashMismatch, ModelNotFound, NoSpace: from the last source tried, or the last
            of those that may give it another time.
        VolumeUnavailable: the folder for it is gone; it is not made anew where the volume was.
        TakenOver: another worker went on with it.
        Stopped: nobody wants it any more.
    """
    means.inventory.availability.require(order.resolution.kind, path=order.path)
    worst: WorkerError | None = None
    locators = order.resolution.locators
    for locator in locators:
        try:
            return Attempt(means, order, locator, token_for(order.ref, locator, locators[0])).run()
        except (NoSpace, VolumeUnavailable):
            raise
        except WorkerError as error:
            if worst is None or error.retryable or not worst.retryable:
                worst = error
    if worst is None:
        raise DownloadRefused(f"{order.path}: nothing is known about where {order.ref.shown!r} is")
    raise worst
