"""Files that are there already, in other folders, linked into the model folders: stray ones, and the hub's cache.

RunPod caches one repository of Hugging Face for an endpoint. Its files are found by ``hf:`` references, and by plain
names: the repository's, and that of the file.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from worker.models.format.detect import FoundKind, detect
from worker.models.format.filenames import PICKLE_ENDINGS, match_key, safe_stem, split_ending
from worker.models.format.safetensors import SAFETENSORS, BrokenHeader, read_header
from worker.models.sources.huggingface import HuggingFace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from worker.models.volume.layout import Volume
    from worker.models.volume.model_resolver import Resolution
    from worker.settings import ModelKind

_FOLDER_PREFIX = "models--"


@dataclass(frozen=True, slots=True)
class CachedFile:
    """A model file in the hub's cache.

    Attributes:
        repo: ``org/name``.
        file: Its path in the repository.
        path: Where it is.
    """

    repo: str
    file: str
    path: Path

    def is_called(self, name: str) -> bool:
        """Return whether a plain name means this file: its own, or its repository's."""
        return name.casefold() == self.repo.casefold() or match_key(name) == match_key(PurePosixPath(self.file).name)


def cached_models(kind: ModelKind, caches: Iterable[Path]) -> Iterator[CachedFile]:
    """Yield the files of the hub's caches that are models of `kind` by their headers; no network."""
    for cache in caches:
        for folder in sorted(cache.glob(f"{_FOLDER_PREFIX}*--*")):
            snapshot = _current_snapshot(folder)
            if snapshot is None:
                continue
            repo = folder.name.removeprefix(_FOLDER_PREFIX).replace("--", "/")
            for path in sorted(_files_below(snapshot)):
                if path.suffix.lower() == SAFETENSORS and _kind_of(path) == kind:
                    yield CachedFile(repo, path.relative_to(snapshot).as_posix(), path)


def only_cached(kind: ModelKind, caches: Iterable[Path]) -> CachedFile | None:
    """Return the one model of `kind` in the hub's caches; None where they have none or several."""
    found = list(cached_models(kind, caches))
    return found[0] if len(found) == 1 else None


def _current_snapshot(folder: Path) -> Path | None:
    """Return the snapshot that ``main`` means, else the only one there is."""
    snapshots = folder / "snapshots"
    try:
        return snapshots / (folder / "refs" / "main").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        pass
    try:
        there = list(snapshots.iterdir())
    except OSError:
        return None
    return there[0] if len(there) == 1 else None


def _files_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)


def _kind_of(path: Path) -> FoundKind | None:
    try:
        return detect(read_header(path)).kind
    except (BrokenHeader, OSError):
        return None


def find_cached(locator: HuggingFace, caches: Iterable[Path]) -> Path | None:
    """Return the file from one of the hub's caches (``…/hub``), in place; no network.

    Without a revision it is what ``main`` meant when the cache was filled, else any snapshot that has the file.
    """
    folder = "models--" + locator.repo.replace("/", "--")
    for cache in caches:
        snapshots = cache / folder / "snapshots"
        named = locator.revision or "main"
        try:
            commits = [(cache / folder / "refs" / named).read_text().strip()]
        except OSError:
            commits = []
        if locator.revision is not None:
            commits.append(locator.revision)
        elif snapshots.is_dir():
            commits += sorted(each.name for each in snapshots.iterdir())
        for commit in commits:
            path = snapshots / commit / locator.path
            if ".." not in commit and path.is_file():
                return path
    return None


def link_cached(resolution: Resolution, volume: Volume, caches: Sequence[Path], *, pickles: bool) -> Resolution:
    """Link a file of the hub's cache into the model folder where the cache has what was chosen; return its resolution.

    Only model files; formats that can run code only with `pickles`. A name or a repository that means several files
    means none.
    """
    if not resolution.locators and resolution.name is not None:
        return _link_only(resolution, volume, [f for f in _of_kind(resolution, caches) if f.is_called(resolution.name)])
    for locator in resolution.locators:
        if not isinstance(locator, HuggingFace):
            continue
        if not locator.path:
            linked = _link_only(resolution, volume, [f for f in _of_kind(resolution, caches) if f.repo == locator.repo])
            if linked.file is not None:
                return linked
            continue
        ending = split_ending(locator.path)[1]
        if not ending or (ending in PICKLE_ENDINGS and not pickles):
            continue
        cached = find_cached(locator, caches)
        if cached is None:
            continue
        stem = resolution.stem or f"{safe_stem(locator.file_name)}-{resolution.suffix}"
        linked = _link(resolution, volume, cached, f"{stem}{ending}")
        if linked.file is not None:
            return linked
    return resolution


def _of_kind(resolution: Resolution, caches: Sequence[Path]) -> list[CachedFile]:
    return list(cached_models(resolution.kind, caches))


def _link_only(resolution: Resolution, volume: Volume, found: Sequence[CachedFile]) -> Resolution:
    if len(found) != 1:
        return resolution
    stem, ending = split_ending(PurePosixPath(found[0].file).name)
    return _link(resolution, volume, found[0].path, f"{safe_stem(stem)}{ending}")


def link_misplaced(resolution: Resolution, volume: Volume, found: Path) -> Resolution:
    """Link a file that lies in another folder of the volume into the folder that is read; return its resolution.

    The link is relative: a volume is mounted in one place in a worker and in another in a pod.
    """
    return _link(resolution, volume, found, found.name, relative=True)


def _link(resolution: Resolution, volume: Volume, there: Path, file: str, *, relative: bool = False) -> Resolution:
    """Link a file into the model folder as `file`; return the resolution unchanged where that can't be done."""
    path = volume.path(resolution.kind, file)
    with contextlib.suppress(OSError):  # read-only, or another worker was faster
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.relpath(there, path.parent) if relative else there.absolute())
    leads_there = path.exists() and path.resolve() == there.resolve()
    return replace(resolution, file=file) if leads_there else resolution
