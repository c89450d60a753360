"""The model store: from what a job names to files that are there."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from worker.errors import InvalidInput, ModelNotFound
from worker.models.download.context import DownloadContext, DownloadRules, RetrySettings
from worker.models.download.download_progress import DownloadState, SpeedMeter, tell
from worker.models.download.queue import DownloadQueue
from worker.models.format.detect import is_usable_as
from worker.models.format.filenames import BadReference
from worker.models.lora_rules import read_lora_rules
from worker.models.sources.model_catalog import read_catalog
from worker.models.sources.references import connect_sources
from worker.models.volume.eviction import Evictor
from worker.models.volume.hf_cache import cached_models, link_cached, link_misplaced
from worker.models.volume.in_use import UsageMarkers
from worker.models.volume.integrity import HashSearch, Quarantine, measure
from worker.models.volume.inventory import Inventory, ListedModels
from worker.models.volume.layout import Volume, file_stamp
from worker.models.volume.leases import LeaseTable, this_process
from worker.models.volume.model import LocalModel, describe
from worker.models.volume.model_resolver import (
    Resolution,
    damaged,
    hash_in,
    not_found,
    nothing_in,
    other_content,
    resolve_by_header,
    without_title,
    wrong_kind,
)
from worker.settings import VOLUME, ModelKind, Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Hashable, Iterable, Iterator, Sequence
    from pathlib import Path

    from worker.contract.types.model_ref import ModelRef
    from worker.models.download.download_progress import ProgressSink
    from worker.models.sources.model_catalog import ModelCatalog
    from worker.models.sources.references import Sources

_REMEMBERED = 1024
HF_CACHES = (VOLUME / "huggingface-cache" / "hub",)


@dataclass(frozen=True, slots=True)
class _Found:
    """A model that `find` has returned, and the state of the volume in which it is what the reference means."""

    stamp: Hashable
    model: LocalModel


class ModelStore:
    """The models of one volume and the ways to get more.

    Methods that are not asynchronous block on the volume and are meant for threads, but for `used`. What `find` has
    returned is remembered: a model that is there and has not changed costs a few looks at times of change.

    Args:
        settings: Folders and limits.
        catalog: Models known by name; default: the catalog that ships.
        sources: Where models come from; default: as the settings say.
        now: Seconds since the epoch.
        retry: Retries and waits; default: as the settings say.
        hf_caches: Folders in which Hugging Face's cache may already have files.
        jitter: A factor for waits, about 1.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        catalog: ModelCatalog | None = None,
        sources: Sources | None = None,
        now: Callable[[], float] = time.time,
        retry: RetrySettings | None = None,
        hf_caches: Sequence[Path] = HF_CACHES,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311  spreads retries, hides nothing
    ) -> None:
        self.settings = settings
        self.catalog = catalog if catalog is not None else read_catalog()
        self.lora_rules = read_lora_rules(settings.models_root)
        self.volume = Volume.of(settings)
        self.inventory = Inventory(self.volume, now=now)
        owner = this_process()
        self.availability = self.inventory.availability
        self.quarantine = Quarantine(self.inventory)
        self._hashes = HashSearch(self.inventory)
        self.marks = UsageMarkers(self.volume.store / "uses", owner)
        self.space = Evictor(
            self.inventory, self.marks, floor=settings.model_free_bytes, evict=settings.model_evict, wall=now
        )
        rules = DownloadRules(
            allow_pickle=settings.model_allow_pickle,
            max_bytes=settings.model_max_bytes,
            retry=retry or RetrySettings(connections=settings.model_connections),
            jitter=jitter,
        )
        means = DownloadContext(
            self.inventory, self.marks, self.space, sources or connect_sources(settings), rules, owner=owner.token
        )
        leases = LeaseTable(self.volume.store / "leases", live_s=settings.model_lease_s)
        self._supply = DownloadQueue(means, leases, at_once=settings.model_downloads)
        self.hf_caches = tuple(hf_caches)
        self.fetched = (0, 0)
        """Files and bytes that this store has fetched so far."""
        self.listed = ListedModels(self.find, self.inventory.stamp)
        self._loaded: list[str] = []
        self._found: dict[tuple[str, ModelKind], _Found] = {}

    def find(self, ref: ModelRef, kind: ModelKind, *, path: str = "") -> LocalModel | None:
        """Return the model if it is there already; no network, no reading of whole files.

        Args:
            ref: As the client wrote it.
            kind: What the field asks for.
            path: The field in the job, for errors.

        Raises:
            InvalidInput: the reference can't name or address anything.
            ModelDamaged: the file is broken, and nothing says where to fetch it from.
            IncompatibleModel: the file is of another kind.
        """
        ref = without_title(ref, self.volume.names(kind))
        asked = ref.model_dump_json(exclude={"token"}), kind
        known = self._found.get(asked)
        if known is not None and known.stamp == self._stamp(kind, known.model.path):
            return known.model
        model = self._there(self.resolve(ref, kind, path=path), path=path)
        if model is not None and (stamp := self._stamp(kind, model.path)) is not None:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[asked] = _Found(stamp, model)
        return model

    def _stamp(self, kind: ModelKind, path: Path) -> Hashable:
        """Return a value that changes with the listing, the registry, the file or its words; None: it can't be told."""
        listing, file = self.volume.listing_stamp(kind), file_stamp(path)
        if listing is None or file is None:
            return None
        notes = file_stamp(path.with_suffix(".txt")), file_stamp(path.with_suffix(".json"))
        return listing, self.inventory.stamp(), file, notes

    async def prepare(
        self, wanted: Sequence[tuple[str, ModelRef, ModelKind]], *, on_progress: ProgressSink | None = None
    ) -> list[LocalModel]:
        """Return every wanted model, in order, fetching those that are not there.

        Nothing is fetched when any of them is unknown. Cancelling ends fetches that nobody else waits for; what has
        arrived is kept for the next time. Hold the models (`holding`) while a job uses them.

        Args:
            wanted: For each model the field in the job (for errors), the reference and the kind.
            on_progress: Called a few times a second while something is fetched.

        Raises:
            InvalidInput: a reference can't name or address anything.
            ModelNotFound: nobody knows it.
            VolumeUnavailable: the folder in which it should be is gone.
            ModelDamaged: a file that people put there is broken.
            DownloadFailed, DownloadRefused, HashMismatch, NoSpace: it can't be had.
        """
        there = await asyncio.to_thread(lambda: [self._require(*each, fetched=False) for each in wanted])
        models = [model for model in there if model is not None]
        if len(models) < len(wanted):
            async with self.held(models):
                models = await self._fetch(wanted, on_progress)
        self.used(models)
        new = [model for model in models if model.fetched]
        files, size = self.fetched
        self.fetched = (files + len(new), size + sum(model.size for model in new))
        return models

    async def _fetch(
        self, wanted: Sequence[tuple[str, ModelRef, ModelKind]], on_progress: ProgressSink | None
    ) -> list[LocalModel]:
        states: list[DownloadState] = []
        teller = asyncio.create_task(tell(states, on_progress)) if on_progress else None
        held = contextlib.AsyncExitStack()  # what has come stays while the rest comes

        async def one(path: str, ref: ModelRef, kind: ModelKind) -> LocalModel:
            model = await self._one(path, ref, kind, states.append)
            await held.enter_async_context(self.held([model]))
            return model

        tasks = [asyncio.create_task(one(*each)) for each in wanted]
        try:
            models = await asyncio.gather(*tasks)
            if on_progress and (last := SpeedMeter().read(states)):
                on_progress(last)
        finally:
            for task in tasks:
                task.cancel()
            if teller is not None:
                teller.cancel()
            await asyncio.gather(*tasks, *([teller] if teller else []), return_exceptions=True)
            await held.aclose()
        return models

    def used(self, models: Iterable[LocalModel]) -> None:
        """Count a use of each model; costs nothing now, a batch is merged into the registry about once a minute."""
        for model in models:
            self.inventory.use(model.key)
        if self.inventory.flush_is_due():
            self._supply.aside(self.inventory.flush)

    @contextlib.contextmanager
    def holding(self, models: Iterable[LocalModel]) -> Iterator[None]:
        """Keep models from being removed, by this worker and the others, while a job uses them or they are loaded."""
        keys = [model.key for model in models]
        self.marks.hold(keys)
        try:
            yield
        finally:
            self.marks.release(keys)

    @contextlib.asynccontextmanager
    async def held(self, models: Iterable[LocalModel]) -> AsyncIterator[None]:
        """Do the same as `holding`, without blocking the event loop."""
        keys = [model.key for model in models]
        written = asyncio.ensure_future(asyncio.to_thread(self.marks.hold, keys))
        try:
            await asyncio.shield(written)
            yield
        finally:
            if written.done():
                self.marks.release(keys)  # only in memory
            else:  # cancelled meanwhile
                written.add_done_callback(lambda _: self.marks.release(keys))

    def keep_loaded(self, models: Iterable[LocalModel]) -> None:
        """Hold what the WebUI has loaded now, in the place of what it had loaded before."""
        keys = [model.key for model in models]
        self.marks.hold(keys)
        self.marks.release(self._loaded)
        self._loaded = keys

    def resolve(self, ref: ModelRef, kind: ModelKind, *, path: str = "") -> Resolution:
        """Return what a reference means on this volume now. Raises InvalidInput like `find`."""
        self.availability.note_kind(kind)
        try:
            return resolve_by_header(
                ref,
                kind,
                names=self.volume.names(kind),
                entries=self.inventory.entries(),
                catalog=self.catalog,
                base_of=self.inventory.base_of,
            )
        except BadReference as error:
            raise InvalidInput.at(path or kind, f"{ref.shown!r}: {error}") from None

    def search_files_for_hash(self, ref: ModelRef, kind: ModelKind) -> bool:
        """Read files for one whose hash is all that a reference to a checkpoint has; return whether there is one.

        Raises:
            VolumeUnavailable: files are being read for another one.
        """
        digits = hash_in(ref.ref) if kind == "checkpoint" and ref.url is None else None
        return digits is not None and self._hashes.find(digits, kind)

    def not_found(self, resolution: Resolution, ref: ModelRef, *, path: str = "") -> ModelNotFound:
        """Return the error for a name that nobody knows, with what was probably meant.

        Raises:
            VolumeUnavailable: the folder in which it may be is gone.
        """
        kind = resolution.kind
        self.availability.require(kind, file=resolution.file, path=path)
        return not_found(
            ref,
            kind,
            folder=self.volume.folders[kind].name,
            names=[*self.volume.names(kind), *(each.file for each in cached_models(kind, self.hf_caches))],
            elsewhere=self.inventory.lies_elsewhere(ref.ref, kind),
            catalog=self.catalog,
            path=path,
        )

    def close(self) -> None:
        """Stop fetches, merge the uses counted so far, hold nothing."""
        self._supply.close()
        self.inventory.flush()
        self.marks.close()

    async def _one(
        self, path: str, ref: ModelRef, kind: ModelKind, joined: Callable[[DownloadState], None]
    ) -> LocalModel:
        fetched = False
        while True:
            model = await asyncio.to_thread(self._require, path, ref, kind, fetched=fetched)
            if model is not None:
                return model
            fetched = await self._supply.get(lambda: self.resolve(ref, kind, path=path), ref, path, joined=joined)

    def _require(self, path: str, ref: ModelRef, kind: ModelKind, *, fetched: bool) -> LocalModel | None:
        """Return the model if it is there and what the client expects; None when it has to be fetched."""
        ref = without_title(ref, self.volume.names(kind))
        resolution = self.resolve(ref, kind, path=path)
        model = self._there(resolution, path=path, fetched=fetched)
        if model is None:
            self.availability.require(kind, file=resolution.file, path=path)
            if not resolution.locators:
                raise (
                    nothing_in(resolution, path=path) if resolution.file else self.not_found(resolution, ref, path=path)
                )
            if resolution.file is not None:
                self._set_aside(kind, resolution.file, path)
            return None
        if ref.sha256 is not None:
            model = replace(model, sha256=model.sha256 or measure(self.inventory, model))
            if not (model.sha256 or "").startswith(ref.sha256):
                raise other_content(model, ref, path=path)
        return model

    def _set_aside(self, kind: ModelKind, file: str, path: str) -> None:
        """Make way for a damaged or empty file's successor. Raises ModelDamaged where the volume does not let us."""
        try:
            self.quarantine.put_file(kind, file, "damaged after it was fetched")
        except OSError as error:
            why = f"and can't be set aside: {error.strerror}"
            raise damaged(f"{kind}/{file}", why, hint="Is the volume read-only?", path=path) from None

    def _there(self, resolution: Resolution, *, path: str, fetched: bool = False) -> LocalModel | None:
        """Return the chosen file's model; None when it is not there, or damaged and to be had anew."""
        if resolution.file is None:
            resolution = link_cached(resolution, self.volume, self.hf_caches, pickles=self.settings.model_allow_pickle)
        if resolution.file is None and resolution.name is not None and not resolution.locators:
            misplaced = self.inventory.misplaced(resolution.name, resolution.kind)
            if misplaced is not None:
                resolution = link_misplaced(resolution, self.volume, misplaced)
        file = self.volume.look(resolution.kind, resolution.file) if resolution.file is not None else None
        if file is None:
            return None
        damage = self.inventory.damage(file)
        if damage is not None:
            if resolution.locators and file.key in self.inventory.entries():
                return None
            raise damaged(file.key, damage, hint="Remove it, or put a whole one in its place.", path=path)
        found = self.inventory.found_kind(file)
        if not is_usable_as(found, file.kind):
            raise wrong_kind(file.key, file.kind, found, path=path)
        return describe(
            file.path.absolute(),
            self.inventory.entry(file),
            resolution.catalog,
            rule=self.lora_rules.rule(file.file) if file.kind == "lora" else None,
            notes=self.inventory.notes_beside(file),
            fetched=fetched,
        )
