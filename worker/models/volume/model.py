"""A model that is there, as the rest of the worker sees it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal

from worker.models.format.lora_notes import SideNotes
from worker.models.lora_rules import LoraRule

if TYPE_CHECKING:
    from pathlib import Path

    from worker.models.sources.model_catalog import CatalogEntry, Recommended
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
        default_scale: For LoRAs: from the operator's rules, the notes beside the file or the catalog.
        trigger_words: From the operator's rules, the notes beside the file, the catalog, its source or its own
            metadata: the first with any.
        put_words: Where the operator wants the trigger words when a job does not say.
        fetched: It was downloaded for this call.
        size: Bytes.
        key: Its name in the registry, ``kind/file``.
        title: What the client or the catalog calls it.
        source: Where it came from (no secrets); None for files that people put there.
        recommended: What its publisher recommends.
        left_open: What `source` does not decide, in words; None: it means exactly this file.
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
    put_words: Literal["before", "after"] | None = None
    left_open: str | None = None

    @property
    def file(self) -> str:
        """Its path below the folder of its kind."""
        return self.key.partition("/")[2]


def describe(
    path: Path,
    entry: Entry,
    catalog: CatalogEntry | None,
    *,
    rule: LoraRule | None = None,
    notes: SideNotes | None = None,
    fetched: bool = False,
) -> LocalModel:
    """Return the model at `path`; people of this endpoint count more than the catalog, the catalog more than the rest.

    Args:
        path: Absolute.
        entry: The registry's.
        catalog: The catalog's, where it knows the model.
        rule: The operator's, for a LoRA.
        notes: Told by files beside it.
        fetched: It was downloaded for this call.
    """
    name = PurePosixPath(entry.file).stem
    rule, notes = rule or LoraRule(), notes or SideNotes()
    listed_words = catalog.trigger_words if catalog else ()
    scales = (rule.scale, notes.scale, catalog.default_scale if catalog else None)
    return LocalModel(
        kind=entry.kind,
        path=path,
        name=name,
        base_model=rule.base_model or (catalog.base_model if catalog else None) or entry.base_model or notes.base_model,
        sha256=entry.sha256,
        default_scale=next((scale for scale in scales if scale is not None), None),
        trigger_words=rule.trigger_words or notes.trigger_words or listed_words or entry.trigger_words,
        fetched=fetched,
        size=entry.size,
        key=entry.key,
        title=(catalog.name if catalog else None) or entry.name or name,
        source=entry.source,
        recommended=catalog.recommended if catalog else None,
        put_words=rule.put_words,
        left_open=entry.left_open,
    )
