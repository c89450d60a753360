"""A model that is there, as the rest of the worker sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from worker.models.sources.catalog import CatalogEntry, Recommended
    from worker.models.volume.registry import Entry
    from worker.settings import ModelKind


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model file on this machine's disk or volume.

    Attributes:
        kind: What it is.
        path: Absolute.
        name: The file's stem: the tag or title by which the WebUI knows it.
        base_model: ``SD 1.5``, ``SDXL``, ``SDXL (Pony)`` …; None when nobody knows.
        sha256: 64 hex digits when it was measured, else None.
        default_scale: The catalog's, for LoRAs.
        trigger_words: From the catalog, a ``.txt`` beside the file, its source or its own metadata: the first with any.
        fetched: It was downloaded for this call.
        size: Bytes.
        key: Its name in the registry, ``kind/file``.
        title: What the client or the catalog calls it.
        source: Where it came from (no secrets); None for files that people put there.
        recommended: What its publisher recommends.
    """

    kind: ModelKind
    path: Path
    name: str
    base_model: str | None
    sha256: str | None
    default_scale: float | None
    trigger_words: tuple[str, ...]
    fetched: bool
    size: int
    key: str
    title: str
    source: str | None = None
    recommended: Recommended | None = None


def describe(
    path: Path,
    entry: Entry,
    catalog: CatalogEntry | None,
    *,
    words_beside: tuple[str, ...] = (),
    fetched: bool = False,
) -> LocalModel:
    """Return the model at `path`; the catalog's word counts more than what was measured or told elsewhere."""
    name = PurePosixPath(entry.file).stem
    return LocalModel(
        kind=entry.kind,
        path=path,
        name=name,
        base_model=(catalog.base_model if catalog else None) or entry.base_model,
        sha256=entry.sha256,
        default_scale=catalog.default_scale if catalog else None,
        trigger_words=(catalog.trigger_words if catalog else ()) or words_beside or entry.trigger_words,
        fetched=fetched,
        size=entry.size,
        key=entry.key,
        title=(catalog.name if catalog else None) or entry.name or name,
        source=entry.source,
        recommended=catalog.recommended if catalog else None,
    )
