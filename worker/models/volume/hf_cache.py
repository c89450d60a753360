"""Hugging Face's cache on the volume: files that are there already, linked into the model folders."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

from worker.models.format.filenames import PICKLE_ENDINGS, safe_stem, split_ending
from worker.models.sources.huggingface import HuggingFace

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from worker.models.volume.layout import Volume
    from worker.models.volume.resolve import Resolution


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

    Only model files; formats that can run code only with `pickles`.
    """
    for locator in resolution.locators:
        if not isinstance(locator, HuggingFace):
            continue
        ending = split_ending(locator.path)[1]
        if not ending or (ending in PICKLE_ENDINGS and not pickles):
            continue
        cached = find_cached(locator, caches)
        if cached is None:
            continue
        stem = resolution.stem or f"{safe_stem(locator.file_name)}-{resolution.suffix}"
        file = f"{stem}{ending}"
        path = volume.path(resolution.kind, file)
        with contextlib.suppress(OSError):  # read-only, or another worker was faster
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(cached.absolute())
        if path.exists():
            return replace(resolution, file=file)
    return resolution
