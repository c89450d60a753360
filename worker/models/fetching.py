"""From a choice without a file to a file with its final name, fetched once among all workers of the volume."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from itertools import count
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from worker.errors import DownloadRefused, HashMismatch, NoSpace, WorkerError
from worker.models import by_hub
from worker.models.beginning import is_fine_so_far
from worker.models.detect import Facts, detect, finer_base
from worker.models.header import BrokenHeader, read_header
from worker.models.names import PICKLE_ENDINGS, safe_stem, short_hash, split_ending
from worker.models.pace import Arrived, Pace, Stopped, pause
from worker.models.partial import DiskFull, Partial, Version
from worker.models.refusals import fetch_error
from worker.models.registry import Entry
from worker.models.remote import Busy
from worker.models.transfer import Transfer
from worker.net.errors import FetchError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.contract.models import ModelRef
    from worker.models.choose import Choice
    from worker.models.flight import Flight
    from worker.models.inventory import Inventory
    from worker.models.lease import Lease
    from worker.models.marks import Marks
    from worker.models.references import Locator
    from worker.models.sources import Offer, Sources
    from worker.models.space import Space
    from worker.settings import ModelKind

log = logging.getLogger(__name__)

_CLOSE_ENOUGH = {("vae", "checkpoint"), ("controlnet", "lora"), ("controlnet", "checkpoint")}
"""Kinds asked for and kinds found that the WebUI takes for each other."""


class TakenOver(Exception):
    """Another worker took this one for dead and went on with its partial file."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be fetched, and how hard is tried.

    Attributes:
        allow_pickle: Formats that can run code are allowed.
        max_bytes: The longest file.
        pace: Connections and retries.
        jitter: A factor for waits, about 1.
    """

    allow_pickle: bool
    max_bytes: int
    pace: Pace
    jitter: Callable[[], float]


class Fetching:
    """Fetches models onto one volume."""

    def __init__(
        self, inventory: Inventory, marks: Marks, space: Space, sources: Sources, rules: Rules, *, owner: str
    ) -> None:
        self._inventory = inventory
        self._marks = marks
        self._space = space
        self._sources = sources
        self._rules = rules
        self._owner = owner

    def bring(self, choice: Choice, ref: ModelRef, path: str, flight: Flight, lease: Lease | None) -> str:
        """Fetch the model from the first source that gives it; return its key in the registry.

        Args:
            choice: What is wanted and where it is.
            ref: As the client wrote it: its hash and token count.
            path: The field in the job, for errors.
            flight: Told how far it is; can stop it.
            lease: The right to fetch it; None where there are no leases.

        Raises:
            DownloadFailed, DownloadRefused, HashMismatch, ModelNotFound, NoSpace: from the last source tried.
            TakenOver: another worker went on with it.
            Stopped: nobody wants it any more.
        """
        last: WorkerError | None = None
        for locator in choice.locators:
            token = ref.token.get_secret_value() if ref.token and locator == choice.locators[0] else None
            try:
                return _Attempt(self, choice, ref, locator, token, path, flight, lease).run()
            except NoSpace:
                raise
            except WorkerError as error:
                last = error
        if last is None:
            raise DownloadRefused(f"{path}: nothing is known about where {ref.ref[:200]!r} is")
        raise last


class _Attempt:
    """One model from one source."""

    def __init__(
        self,
        fetching: Fetching,
        choice: Choice,
        ref: ModelRef,
        locator: Locator,
        token: str | None,
        path: str,
        flight: Flight,
        lease: Lease | None,
    ) -> None:
        self._all = fetching
        self._inventory = fetching._inventory  # noqa: SLF001  two halves of one module
        self._rules = fetching._rules  # noqa: SLF001  as above
        self._choice = choice
        self._kind: ModelKind = choice.kind
        self._ref = ref
        self._locator = locator
        self._token = token
        self._path = path
        self._flight = flight
        self._lease = lease
        self._file = ""

    def run(self) -> str:
        try:
            offer = self._offer()
            self._name(offer.name, None, 0)
            identity = f"{self._choice.identity} {self._locator.key}"
            folder = self._inventory.volume.incoming(self._kind)
            partial = Partial(folder, identity, self._all._owner, adopt=self._lease is not None)  # noqa: SLF001  as above
        except (FetchError, BrokenHeader) as error:
            raise fetch_error(error, self._locator, self._kind, self._path) from None
        except OSError as error:
            raise NoSpace(
                f"{self._at}the volume can't be written: {error.strerror}",
                hint="Is the volume read-only or full?",
                details={"path": self._path},
            ) from None
        keep = False
        try:
            arrived = self._with_room(partial, offer)
            return self._finish(partial, offer, arrived)
        except FileNotFoundError:
            raise TakenOver from None
        except Stopped:
            keep = True
            raise
        except (FetchError, BrokenHeader) as error:
            keep = isinstance(error, FetchError) and error.retryable and partial.version.resumable
            raise fetch_error(error, self._locator, self._kind, self._path) from None
        finally:
            partial.close()
            if not keep:
                partial.discard()

    def _offer(self) -> Offer:
        """Ask the source what it offers, again while it is busy or out of reach. Raises `FetchError`, `Stopped`."""
        for strikes in count(1):
            try:
                return self._all._sources.offer(self._locator, token=self._token)  # noqa: SLF001  as above
            except FetchError as error:
                if self._flight.stop.wait(pause(error, strikes, self._rules.pace, self._rules.jitter())):
                    raise Stopped from None
        raise AssertionError("counting does not end")

    @property
    def _at(self) -> str:
        return f"{self._path}: " if self._path else ""

    def _with_room(self, partial: Partial, offer: Offer) -> Arrived:
        """Fetch; when the volume is full mid-way, make room once and go on."""
        try:
            return self._fetch(partial, offer)
        except DiskFull:
            total, there = self._flight.total, self._flight.done
            missing = max(0, (total or 0) - there) or self._rules.max_bytes // 100
            if not self._room(missing, full=True):
                raise self._no_space(missing) from None
        try:
            return self._fetch(partial, offer)
        except DiskFull:
            raise self._no_space(missing) from None

    def _fetch(self, partial: Partial, offer: Offer) -> Arrived:
        if offer.hub is not None:
            self._name(offer.name, offer.size, 0)
            folder = self._inventory.volume.incoming(self._kind) / f"hub-{short_hash(self._locator.key)}"
            base, limit = self._all._sources.hf_base, self._all._sources.limits.read_s  # noqa: SLF001  as above
            try:
                return by_hub.bring(
                    offer.hub,
                    offer,
                    partial,
                    folder,
                    base=base,
                    timeout_s=limit,
                    flight=self._flight,
                    check=self._check,
                    tell=self._tell,
                )
            except (Busy, Unreachable) as error:  # the storage's own protocol; its files are to be had by ranges too
                log.warning("the hub's library could not fetch %s (%s); trying ranges", self._locator.key, error)
                shutil.rmtree(folder, ignore_errors=True)

        def on_name(version: Version, suggested: str | None) -> None:
            there = partial.spans.total if version == partial.version else 0
            told = next((each for each in (offer.name, suggested) if each and split_ending(each)[1]), None)
            self._name(told or offer.name or suggested, version.size, there)

        return Transfer(
            offer.remote,
            partial,
            pace=self._rules.pace,
            max_bytes=self._rules.max_bytes,
            check=self._check,
            on_name=on_name,
            on_bytes=self._tell,
            stop=self._flight.stop,
            jitter=self._rules.jitter,
        ).run()

    def _name(self, offered: str | None, size: int | None, there: int) -> None:
        """Decide the file's name, refuse what may not be fetched, and see that there is room for it."""
        own = self._choice.name or ""
        ending = split_ending(offered or "")[1] or split_ending(own)[1] or ".safetensors"
        if ending in PICKLE_ENDINGS and not self._rules.allow_pickle:
            raise DownloadRefused(
                f"{self._at}{self._locator.key} is a {ending} file, which can run code when it is loaded",
                hint="Use a .safetensors file; the operator can allow others with MODEL_ALLOW_PICKLE.",
                details={"path": self._path, "source": self._locator.key},
            )
        stem = self._choice.stem
        if stem is None:
            stem = f"{safe_stem(offered or PurePosixPath(own).name or self._kind)}-{self._choice.suffix}"
        self._file = f"{stem}{ending}"
        if size is not None:
            self._flight.total = size
            if not self._room(size - there):
                raise self._no_space(size - there)

    def _room(self, size: int, *, full: bool = False) -> bool:
        folder = self._inventory.volume.folders[self._kind]
        keep = frozenset({f"{self._kind}/{self._file}"})
        return self._all._space.make_room(folder, size, keep=keep, full=full)  # noqa: SLF001  as above

    def _no_space(self, size: int) -> NoSpace:
        return NoSpace(
            f"{self._at}no room for {self._locator.key}: {size} bytes are missing",
            hint="Remove or unpin models, lower MODEL_FREE_BYTES, or use a larger volume.",
            details={"path": self._path, "bytes": size},
        )

    def _check(self, fd: int, front: int, size: int | None) -> bool:
        return is_fine_so_far(self._file, fd, front, size)

    def _tell(self, done: int, total: int | None) -> None:
        self._flight.tell(done, total)
        if self._lease is not None:
            self._lease.done, self._lease.total = done, total

    def _finish(self, partial: Partial, offer: Offer, arrived: Arrived) -> str:
        """Check the whole file, write it down, and give it its name."""
        self._compare(offer, arrived)
        facts = self._facts(partial)
        known = self._choice.catalog
        clock = self._inventory.now()
        entry = Entry(
            kind=self._kind,
            file=self._file,
            size=arrived.size,
            sha256=arrived.sha256,
            source=self._locator.key,
            also=offer.also,
            name=self._choice.name,
            base_model=(known.base_model if known else None) or finer_base(offer.base_model, facts.base_model),
            trigger_words=offer.trigger_words or facts.trigger_words,
            etag=arrived.tag,
            fetched_at=clock,
            last_used=clock,
        )
        self._all._marks.hold([entry.key])  # noqa: SLF001  two halves of one module
        try:
            self._inventory.record(entry)  # before the name: a file is never there without its source and hash
            partial.move_to(self._inventory.volume.path(self._kind, self._file))
        finally:
            self._all._marks.release([entry.key])  # noqa: SLF001  as above
        return entry.key

    def _compare(self, offer: Offer, arrived: Arrived) -> None:
        """Compare with what the job, the catalog and the source say the file is. Raises `HashMismatch`."""
        catalog = self._choice.catalog.sha256 if self._choice.catalog else None
        for said_by, expected in (
            ("the job", self._ref.sha256),
            ("the catalog", catalog),
            ("its source", offer.sha256),
        ):
            if expected is not None and not arrived.sha256.startswith(expected):
                raise HashMismatch(
                    f"{self._at}{self._locator.key} has the SHA-256 {arrived.sha256}; {said_by} says {expected}",
                    hint="The file was not kept. Check the hash, or that the address leads to the right version.",
                    details={"path": self._path, "expected": expected, "measured": arrived.sha256},
                )

    def _facts(self, partial: Partial) -> Facts:
        if not self._file.endswith(".safetensors"):
            return Facts(None, None)
        facts = detect(read_header(partial.path))
        if facts.kind is not None and facts.kind != self._kind and (self._kind, facts.kind) not in _CLOSE_ENOUGH:
            raise DownloadRefused(
                f"{self._at}{self._locator.key} is a {facts.kind}, not a {self._kind}",
                hint=f"Name it where a {facts.kind} belongs.",
                details={"path": self._path, "kind": self._kind, "found": facts.kind},
            )
        return facts
