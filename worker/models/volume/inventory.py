"""Inventory of one volume as one worker sees it: folder first, registry second.

A use costs nothing at once: it is kept in memory and merged into the registry in batches (`flush`). On a read-only
volume everything still works from memory; `read_only` tells.

All methods block on the volume and are called in threads, but for `use`, `last_used` and `flush_is_due`.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from worker.contract.types.model_ref import ModelRef
from worker.errors import IncompatibleModel, InvalidInput, ModelDamaged
from worker.models.format.detect import Facts, FoundKind, detect, with_article
from worker.models.format.filenames import match_key
from worker.models.format.lora_notes import SideNotes, read_side_notes
from worker.models.format.safetensors import SAFETENSORS, BrokenHeader, read_header
from worker.models.sources.model_catalog import CATALOG_PATH
from worker.models.volume.availability import Availability
from worker.models.volume.layout import KINDS, STORE
from worker.models.volume.registry import Entries, Entry, Use, as_measured, used
from worker.models.volume.registry_file import RegistryFile

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    from worker.models.volume.layout import ModelFile, Volume
    from worker.models.volume.model import LocalModel
    from worker.settings import ModelKind

    Find = Callable[[ModelRef, ModelKind], LocalModel | None]

log = logging.getLogger(__name__)

REGISTRY = "cache_registry.json"
FLUSH_EVERY_S = 60.0
_LOOKED_THROUGH = 20_000
"""Files whose names are compared when one is not where it should be."""
_TOLD = 3
_MAX_WORDS_FILE = 16 * 1024
_MAX_NOTES_FILE = 1024 * 1024


def registry_path(root: Path, catalog: Path = CATALOG_PATH) -> Path:
    """Return where the registry of the models in `root` is; never the place of the catalog that ships."""
    path = root / REGISTRY
    return root / STORE / REGISTRY if path.absolute() == catalog.absolute() else path


def _kind_at(path: Path) -> FoundKind | None:
    """Return what a file is by its header; None when that does not tell."""
    try:
        return detect(read_header(path)).kind if path.suffix.lower() == SAFETENSORS else None
    except (BrokenHeader, OSError):
        return None


def _beginning_of(path: Path, most: int) -> bytes | None:
    """Return the first bytes of a file, None where it can't be read."""
    try:
        if not path.is_file():  # a pipe would keep its reader for ever
            return None
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return None


def _is_measured(entry: Entry) -> bool:
    """Return whether the worker that fetched the file has read all of it; registries of other programs say less."""
    return entry.source is not None and entry.sha256 is not None


class Inventory:
    """The models of one volume.

    Args:
        volume: Where the folders are.
        now: Seconds since the epoch.
    """

    def __init__(self, volume: Volume, *, now: Callable[[], float]) -> None:
        self.volume = volume
        self.availability = Availability(volume)
        self.read_only = False
        self.now = now
        self._mutex = threading.Lock()
        self._uses: dict[str, Use] = {}
        self._flushed_at = now()
        self._changes = 0
        self._mine: Entries = {}  # merged by this process: put back should another worker's merge lose them
        self._seen: dict[tuple[str, int, int], tuple[Facts, str | None]] = {}
        self._registry = RegistryFile(
            registry_path(volume.root),
            volume.store / "registry.lock",
            set_aside=lambda name: log.warning("the registry was broken; it is kept as %s and rebuilt", name),
        )

    def stamp(self) -> tuple[object, int]:
        """Return what changes whenever `entries` does."""
        return self._registry.stamp(), self._changes

    def entries(self) -> Entries:
        """Return the registry, whatever it is worth: entries may be of files that are gone or were replaced."""
        known = self._registry.read() or {}
        with self._mutex:
            return {**self._mine, **known} if self._mine else dict(known)

    def entry(self, file: ModelFile) -> Entry:
        """Return what is known of a file: the registry's entry if it is of this very file, else its header's word."""
        entry = self._of(file)
        if entry is not None and (entry.base_model is not None or _is_measured(entry)):
            return entry
        facts = self.facts(file)
        if entry is not None:  # of an older registry
            base, words = entry.base_model or facts.base_model, entry.trigger_words or facts.trigger_words
            return replace(entry, base_model=base, trigger_words=words)
        return Entry(
            kind=file.kind,
            file=file.file,
            size=file.size,
            base_model=facts.base_model,
            trigger_words=facts.trigger_words,
            fetched_at=file.modified,
            last_used=file.modified,
        )

    def base_of(self, kind: ModelKind, file: str) -> str | None:
        """Return the base model of a file by its path below its kind's folder; None when nobody knows."""
        there = self.volume.look(kind, file)
        return self.entry(there).base_model if there is not None else None

    def _of(self, file: ModelFile) -> Entry | None:
        entry = self.entries().get(file.key)
        return as_measured(entry, file.size, file.modified_ns) if entry is not None else None

    def written_hash(self, key: str) -> str | None:
        """Return the hash in the registry, whatever has become of the file since: what it should still have."""
        entry = self.entries().get(key)
        return entry.sha256 if entry is not None else None

    def facts(self, file: ModelFile) -> Facts:
        """Return what the header of a file tells; nothing for formats without one."""
        return self._look_inside(file)[0]

    def found_kind(self, file: ModelFile) -> FoundKind | None:
        """Return what a file is by its header; None when that tells nothing, or was checked when it was fetched."""
        entry = self._of(file)
        return None if entry is not None and _is_measured(entry) else self.facts(file).kind

    def damage(self, file: ModelFile) -> str | None:
        """Return what is wrong with the header of a file; None if nothing, or if it was checked when it was fetched."""
        entry = self._of(file)
        if entry is not None and _is_measured(entry):
            return None
        return self._look_inside(file)[1]

    def _look_inside(self, file: ModelFile) -> tuple[Facts, str | None]:
        memo = (file.key, file.size, file.changed)
        known = self._seen.get(memo)
        if known is None:
            known = Facts(None, None), None
            if file.file.lower().endswith(SAFETENSORS):
                try:
                    known = detect(read_header(file.path)), None
                except BrokenHeader as error:
                    known = Facts(None, None), str(error)
                except OSError:
                    return known  # a hiccup of the volume says nothing about the file
            self._seen[memo] = known
        return known

    def lies_elsewhere(self, name: str, kind: ModelKind) -> list[str]:
        """Return where files of this name lie outside the folder of `kind`, each with what it is, in words; few."""
        found = []
        for path in self._elsewhere(name, kind):
            root = self.volume.root.absolute()
            shown = path.absolute().relative_to(root) if path.absolute().is_relative_to(root) else path.name
            seen = _kind_at(path)
            found.append(f"{shown}{f' ({with_article(seen)})' if seen else ''}")
        return found[:_TOLD]

    def misplaced(self, name: str, kind: ModelKind) -> Path | None:
        """Return the one file of this name that lies outside the folder of `kind` and is of that kind by its header.

        Only in the root, in A1111's own folders for it, and in those of other kinds; elsewhere it may be part of
        something else.
        """
        found = self._elsewhere(name, kind)
        if len(found) != 1 or not self.volume.may_stray_to(found[0], kind) or _kind_at(found[0]) != kind:
            return None
        return found[0]

    def _elsewhere(self, name: str, kind: ModelKind) -> list[Path]:
        wanted = match_key(PurePath(name).name)
        every = itertools.islice(self.volume.elsewhere(kind), _LOOKED_THROUGH)
        return [path for path in every if match_key(path.name) == wanted]

    def notes_beside(self, file: ModelFile) -> SideNotes:
        """Return what the ``.txt`` and, of a LoRA, the ``.json`` beside a model tell."""
        text = _beginning_of(file.path.with_suffix(".txt"), _MAX_WORDS_FILE)
        webui_json = _beginning_of(file.path.with_suffix(".json"), _MAX_NOTES_FILE) if file.kind == "lora" else None
        return read_side_notes(text, webui_json)

    def scan(self) -> Entries:
        """Return an entry for every file of the volume; reads only headers of files that the registry does not know.

        Of a folder that can't be read the registry's word is kept.
        """
        lost = {kind for kind in KINDS if self.availability.lost(kind) is not None}
        kept = {key: entry for key, entry in self.entries().items() if entry.kind in lost} if lost else {}
        found = (self.entry(file) for kind in KINDS if kind not in lost for file in self.volume.files(kind))
        return kept | {entry.key: entry for entry in found}

    def rebuild(self) -> Entries:
        """Make the registry match the folder: entries without a file go, files without one get one."""
        return self._change(lambda _: self.scan())

    def record(self, entry: Entry) -> None:
        """Merge one entry."""
        with self._mutex:
            self._mine[entry.key] = entry
            self._changes += 1
        self._change(lambda entries: {**entries, entry.key: entry})

    def forget(self, key: str) -> None:
        """Take one entry out."""
        with self._mutex:
            self._mine.pop(key, None)
            self._changes += 1
            self._uses.pop(key, None)
        self._change(lambda entries: {name: entry for name, entry in entries.items() if name != key})

    def pin(self, file: ModelFile, *, pinned: bool) -> Entry:
        """Mark a file as never to be evicted, or take the mark away."""
        entry = replace(self.entry(file), pinned=pinned)
        self.record(entry)
        return entry

    def use(self, key: str) -> None:
        """Count one use, in memory."""
        with self._mutex:
            before = self._uses.get(key)
            self._uses[key] = Use(before.count + 1 if before else 1, self.now())

    def last_used(self, entry: Entry) -> float:
        """Return when a model was last used, uses not yet flushed included."""
        with self._mutex:
            use = self._uses.get(entry.key)
        return max(entry.last_used, use.last) if use else entry.last_used

    def flush_is_due(self) -> bool:
        """Return whether there are uses that have waited long enough to be worth a write."""
        with self._mutex:
            return bool(self._uses) and abs(self.now() - self._flushed_at) > FLUSH_EVERY_S

    def flush(self) -> None:
        """Merge the uses counted so far, and this process's entries that another worker's merge has lost."""
        with self._mutex:
            self._flushed_at = self.now()
            uses, self._uses = self._uses, {}
            mine = dict(self._mine)
        lost = {key: entry for key, entry in mine.items() if self._is_lost(entry)}
        if not uses and not lost:
            return
        known = {key: self._scanned(key) for key in uses}
        self._change(lambda entries: used({**lost, **{k: e for k, e in known.items() if e}, **entries}, uses))

    def _is_lost(self, entry: Entry) -> bool:
        if entry.key in (self._registry.read() or {}):
            return False
        file = self.volume.look(entry.kind, entry.file)
        return file is not None and file.size == entry.size

    def _scanned(self, key: str) -> Entry | None:
        kind, _, name = key.partition("/")
        known: dict[str, ModelKind] = {each: each for each in KINDS}
        file = self.volume.look(known[kind], name) if kind in known else None
        return self.entry(file) if file else None

    def _change(self, apply: Callable[[Entries], Entries]) -> Entries:
        if self.availability.root_lost() is not None:  # a registry written now would be of an empty mount point
            return apply(self.entries())
        try:
            return self._registry.change(apply, rebuild=self.scan)
        except OSError as error:
            if not self.read_only:
                log.warning("the registry can't be written (%s); this worker keeps its own in memory", error.strerror)
                self.read_only = True
            return apply(self.entries())


class ListedModels:
    """Cache of the volume's listing. Every job asks, and a look into the folder takes 0.4 ms, on a volume more.

    Args:
        find: The store's; reads folders.
        registry: Stamp of the registry's state.
    """

    def __init__(self, find: Find, registry: Callable[[], Hashable]) -> None:
        self._find = find
        self._registry = registry
        self._known: dict[tuple[str, ModelKind], tuple[Hashable, str, LocalModel]] = {}

    def model(self, filename: str, kind: ModelKind) -> LocalModel | None:
        """Return what is known of a file by its path in the WebUI's list, None where it is not on the volume.

        Raises:
            ModelDamaged, IncompatibleModel: as `ModelStore.find` does.
        """
        known = self._known.get((filename, kind))
        if known is not None and known[0] == self._stamp(known[1]):
            return known[2]
        name = PurePath(filename).name
        if not name:
            return None
        try:
            found = self._find(ModelRef(name=name), kind)
        except InvalidInput:
            return None
        if found is None or found.path.name != name:
            return None
        path = str(found.path)
        stamp = self._stamp(path)
        if stamp is not None:
            self._known[filename, kind] = (stamp, path, found)
        return found

    def sound(self, filename: str, kind: ModelKind) -> LocalModel | None:
        """Return the same, and None for a file that is damaged or of another kind: it is not this job's."""
        try:
            return self.model(filename, kind)
        except (ModelDamaged, IncompatibleModel):
            return None

    def _stamp(self, path: str) -> Hashable:
        """Return what changes when the file or the registry does; None where the file is gone."""
        try:
            facts = os.stat(path)  # noqa: PTH116 - the method of paths takes three times as long
        except OSError:
            return None
        return facts.st_ino, facts.st_size, facts.st_mtime_ns, self._registry()
