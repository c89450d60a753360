"""Resolution of a model reference: which file it means, and what to download when there is none; pure.

The rule above all: a file is taken for a source only when it is known to come from there, or when its name can come
from nowhere else. Two addresses that end in the same file name never share a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from worker.common.suggestions import closest
from worker.errors import HashMismatch, IncompatibleModel, ModelDamaged, ModelNotFound
from worker.models.format.compatibility import fits
from worker.models.format.detect import FoundKind, place_of, with_article
from worker.models.format.filenames import (
    match_key,
    relative_path,
    safe_stem,
    split_ending,
)
from worker.models.sources.civitai import Civitai
from worker.models.sources.model_catalog import ModelCatalog
from worker.models.sources.references import locate, plain_name
from worker.models.volume.registry import by_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from worker.contract.types.model_ref import ModelRef
    from worker.models.sources.model_catalog import CatalogEntry
    from worker.models.sources.model_source import Locator
    from worker.models.volume.model import LocalModel
    from worker.models.volume.registry import Entry
    from worker.settings import ModelKind


_HEX = frozenset("0123456789abcdef")
_HASH_LENGTHS = (10, 64)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The meaning of a reference.

    Attributes:
        file: Path below the kind's folder when the file is there, else None.
        catalog: The catalog's entry, when it has one.
        locators: Where to fetch it from, in order; empty for a name that nobody knows.
        stem: What a fetched file is to be called; None: the source's own name plus `suffix`.
        suffix: Stands for the source in file names.
        name: What the client or the catalog calls it.
    """

    kind: ModelKind
    file: str | None
    catalog: CatalogEntry | None
    locators: tuple[Locator, ...]
    stem: str | None
    suffix: str
    name: str | None

    @property
    def identity(self) -> str:
        """The subject of one fetch at a time: the target file, or the source where that names the file."""
        return f"{self.kind}/{self.stem}" if self.stem else f"{self.kind}/-{self.suffix}"


def resolve_by_header(
    ref: ModelRef,
    kind: ModelKind,
    *,
    names: Sequence[str],
    entries: Mapping[str, Entry],
    catalog: ModelCatalog,
    base_of: Callable[[ModelKind, str], str | None],
) -> Resolution:
    """Return what `resolve` does, but never a file of one architecture for the catalog's model of another.

    `base_of` returns the base model of a file, None when nobody knows.
    """
    found = resolve(ref, kind, names=names, entries=entries, catalog=catalog)
    if found.file is None or found.catalog is None:
        return found
    if fits(base_of(kind, found.file), found.catalog.base_model) != "refuse":
        return found
    if _is_called(found.file, ref.ref):  # by its very own name: it is meant, whatever else is called so
        return resolve(ref, kind, names=names, entries=entries, catalog=ModelCatalog())
    rest = [name for name in names if name != found.file]
    return resolve(ref, kind, names=rest, entries=entries, catalog=catalog)


def _is_called(file: str, name: str) -> bool:
    """Return whether `name` is the very name of `file`, with or without its folder and ending."""
    return split_ending(name)[0] in {split_ending(file)[0], split_ending(PurePosixPath(file).name)[0]}


def resolve(
    ref: ModelRef, kind: ModelKind, *, names: Sequence[str], entries: Mapping[str, Entry], catalog: ModelCatalog
) -> Resolution:
    """Return what `ref` means among the files `names` of its kind's folder.

    Args:
        ref: As the client wrote it.
        kind: What the field of the job asks for.
        names: Files of that kind, as paths below the folder.
        entries: The registry; entries whose file is not in `names` are ignored.
        catalog: What is known by name.

    Raises:
        BadReference: it can't name or address any model.
    """
    locator, name = locate(ref), plain_name(ref)
    present = set(names)
    there = {entry.file: entry for entry in entries.values() if entry.kind == kind and entry.file in present}
    if locator is not None:
        return _by_locator(ref, kind, locator, name, names, there, catalog)
    wanted = relative_path(name or "")
    known = catalog.named(wanted, kind)
    locators: tuple[Locator, ...] = known.locators if known else ()
    keys = {each.key for each in locators}
    file = _exact(wanted, names)
    if file is not None and known is not None and not _may_be(there.get(file), keys, ref):
        file = None  # somebody gave the catalog's name to a file from elsewhere
    file = file or _same_content(ref, there) or _with_hash(wanted, there)
    if file is None:
        file = _of_catalog(known, names, there) if known else _by_name(name or "", wanted, names, there)
    if file is None and known is None and _CIVITAI_ID.fullmatch(wanted):
        return _by_locator(ref, kind, Civitai(int(wanted)), None, names, there, catalog)
    stem = known.stem if known else safe_stem(PurePosixPath(wanted).name)
    suffix = locators[0].suffix if locators else ""
    if file is None and known is not None and _exact(stem, names) is not None:
        stem = f"{stem}-{suffix}"
    return Resolution(kind, file, known, locators, stem, suffix, known.name if known else name)


def _by_locator(
    ref: ModelRef,
    kind: ModelKind,
    locator: Locator,
    name: str | None,
    names: Sequence[str],
    there: Mapping[str, Entry],
    catalog: ModelCatalog,
) -> Resolution:
    known = catalog.from_source(locator, kind)
    locators = known.locators if known else (locator,)
    keys = {locator.key, *(each.key for each in locators)}
    suffix = locator.suffix
    stem = safe_stem(PurePosixPath(relative_path(name)).name) if name else known.stem if known else None
    calls = name or (known.name if known else None)
    found = next((entry for key in keys if (entry := by_source(there.values(), key, kind))), None)
    file = found.file if found else _same_content(ref, there)
    if file is None and stem is not None:
        same = _exact(name or stem, names) or _exact(stem, names)
        if same is not None and _may_be(there.get(same), keys, ref):
            file = same
        elif same is not None:
            stem = f"{stem}-{suffix}"
            file = _exact(stem, names)
    if file is None:
        of_it = (each for each in names if split_ending(each)[0].endswith(f"-{suffix}"))
        file = next((each for each in of_it if _may_be(there.get(each), keys, ref)), None)
    return Resolution(kind, file, known, locators, stem, suffix, calls)


def _may_be(entry: Entry | None, keys: Iterable[str], ref: ModelRef) -> bool:
    """Return whether a file of the right name may be the one that the source offers: nothing known contradicts."""
    if entry is None:
        return True
    if ref.sha256 is not None and entry.sha256 is not None:
        return entry.sha256.startswith(ref.sha256)
    return entry.source is None or entry.source in keys


def _same_content(ref: ModelRef, there: Mapping[str, Entry]) -> str | None:
    if ref.sha256 is None:
        return None
    return next((e.file for e in there.values() if e.sha256 is not None and e.sha256.startswith(ref.sha256)), None)


def hash_in(name: str) -> str | None:
    """Return the hash that a name is, whole or its first 10 digits; None for any other name."""
    digits = name.strip().lower()
    return digits if len(digits) in _HASH_LENGTHS and set(digits) <= _HEX else None


def _with_hash(wanted: str, there: Mapping[str, Entry]) -> str | None:
    """Return the file that a hash alone names, whole or its first 10 digits, as the WebUI takes it for a checkpoint."""
    digits = hash_in(wanted)
    if digits is None:
        return None
    return next((e.file for e in there.values() if e.sha256 is not None and e.sha256.startswith(digits)), None)


def _exact(wanted: str, names: Sequence[str]) -> str | None:
    """Return the file with this path, or this path plus an ending, or else the one file anywhere with this stem."""
    stem, ending = split_ending(wanted)
    candidates = [each for each in names if each == wanted or (not ending and split_ending(each)[0] == stem)]
    if candidates:
        return min(candidates, key=lambda each: (not each.endswith(".safetensors"), each))
    if "/" in wanted:
        return None
    below = [each for each in names if PurePosixPath(each).name == wanted or PurePosixPath(each).stem == wanted]
    if not below:  # as the WebUI lists a file in a folder: `model_name`
        below = [each for each in names if split_ending(each.replace("/", "_"))[0] == stem]
    return below[0] if len(below) == 1 else None


def _of_catalog(known: CatalogEntry, names: Sequence[str], there: Mapping[str, Entry]) -> str | None:
    for locator in known.locators:
        found = by_source(there.values(), locator.key, known.kind)
        if found is not None:
            return found.file
    keys = {locator.key for locator in known.locators}
    spellings = {match_key(each) for each in (known.name, known.stem, *known.aliases)}
    for each in names:
        entry = there.get(each)
        if match_key(PurePosixPath(each).name) in spellings and (entry is None or entry.source in {None, *keys}):
            return each
    return None


def _by_name(name: str, wanted: str, names: Sequence[str], there: Mapping[str, Entry]) -> str | None:
    """Return the one file that was fetched under exactly this name, else the one of a similar name."""
    fetched = [entry.file for entry in there.values() if entry.name == name]
    return fetched[0] if len(fetched) == 1 else _unique(wanted, names) or _called(wanted, there)


def _unique(wanted: str, names: Sequence[str]) -> str | None:
    key = match_key(PurePosixPath(wanted).name)
    found = [each for each in names if key and match_key(PurePosixPath(each).name) == key]
    return found[0] if len(found) == 1 else None


def _called(wanted: str, there: Mapping[str, Entry]) -> str | None:
    """Return the one file that was fetched under this name, where its file name could not hold it."""
    key = match_key(wanted)
    found = [entry.file for entry in there.values() if key and entry.name is not None and match_key(entry.name) == key]
    return found[0] if len(found) == 1 else None


_CIVITAI_ID = re.compile(r"[1-9][0-9]{0,11}")
_TITLE = re.compile(r"\s*\[([0-9a-f]{8,64})\]$")
_SHORT_SHA256 = 10
"""Digits of a SHA-256 in the WebUI's titles."""
_HINT = (
    "Name a model of the catalog or a file on the volume, or say where it is: a URL, civitai:<version id>, "
    "hf:org/repo/file or s3://bucket/key."
)


def title_name(text: str) -> str:
    """Return the name in a title of the WebUI's, ``name.safetensors [hash]``; any other text as it is."""
    return _TITLE.sub("", text)


def without_title(ref: ModelRef, names: Sequence[str]) -> ModelRef:
    """Return a reference by title as one by name and SHA-256, where a file of that name is there."""
    match = _TITLE.search(ref.name or "")
    if match is None or ref.url is not None or ref.sha256 is not None or len(match[1]) != _SHORT_SHA256:
        return ref
    name = title_name(ref.name or "")
    return ref.model_copy(update={"name": name, "sha256": match[1]}) if _exact(name, names) else ref


def not_found(
    ref: ModelRef,
    kind: ModelKind,
    *,
    folder: str,
    names: Iterable[str],
    elsewhere: Sequence[str],
    catalog: ModelCatalog,
    path: str,
) -> ModelNotFound:
    """Return the error, with what was probably meant.

    Args:
        ref: As the client wrote it.
        kind: What the field asks for.
        folder: The folder of that kind, which was read.
        names: Its files.
        elsewhere: Where files of that name lie that are not in this folder, in words.
        catalog: Models known by name.
        path: The field in the job; "" where there is none.
    """
    entries = list(catalog.of_kind(kind))
    known = [entry.name for entry in entries] + [alias for entry in entries for alias in entry.aliases]
    suggestions = closest(title_name(ref.ref), known + [PurePosixPath(name).stem for name in names], key=match_key)
    other = catalog.other_kind(ref.ref, kind)
    asked = f" (did you mean {suggestions[0]!r}?)" if suggestions else ""
    if other is not None:
        asked = f"; {other.name!r} is known as a {other.kind}"
    details: dict[str, object] = {"path": path, "kind": kind, "suggestions": suggestions, "folder": folder}
    hint = _HINT
    if elsewhere:
        details["elsewhere"] = list(elsewhere)
        asked = f"; a file of that name lies at {' and '.join(elsewhere)}"
        hint = f"Only {folder}/ is read for a {kind}: move the file there, or set {kind.upper()}_DIR to its folder."
    return ModelNotFound(
        f"{f'{path}: ' if path else ''}no {kind} {ref.shown!r} on the volume (in {folder}/) or in the catalog{asked}",
        hint=hint,
        details=details,
    )


def nothing_in(resolution: Resolution, *, path: str) -> ModelDamaged:
    """Return the error for a name that the folder has, with nothing behind it."""
    key = f"{resolution.kind}/{resolution.file}"
    return ModelDamaged(
        f"{f'{path}: ' if path else ''}{key} on the volume is empty, a folder, or a link that leads nowhere",
        hint="If it is still being copied, try again; else put a whole file in its place.",
        details={"path": path, "model": key},
    )


def other_content(model: LocalModel, ref: ModelRef, *, path: str) -> HashMismatch:
    """Return the error for a file that has another hash than the client expects."""
    return HashMismatch(
        f"{f'{path}: ' if path else ''}{model.key} has the SHA-256 {model.sha256}, not {ref.sha256}",
        hint="Give the model another name, or remove the file from the volume.",
        details={"path": path, "expected": ref.sha256, "measured": model.sha256},
    )


def damaged(key: str, why: str, *, hint: str, path: str) -> ModelDamaged:
    """Return the error for a file that is broken."""
    return ModelDamaged(
        f"{f'{path}: ' if path else ''}the file {key} on the volume is damaged: {why}",
        hint=hint,
        details={"path": path, "model": key},
    )


def wrong_kind(key: str, kind: ModelKind, found: FoundKind | None, *, path: str) -> IncompatibleModel:
    """Return the error for a file that is of another kind than the folder it is in and the field that names it."""
    return IncompatibleModel(
        f"{f'{path}: ' if path else ''}the file {key} on the volume is {with_article(found)}, not {with_article(kind)}",
        hint=place_of(found),
        details={"path": path, "model": key, "kind": kind, "found": found},
    )
