"""The registry of a volume: `cache_registry.json`, merged by every worker, trusted as far as the folder agrees.

Pure part: entries, encoding, decoding, migration, merging. `registry_file` does the reading and writing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, cast

import orjson

from worker.settings import MODEL_KINDS, ModelKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SCHEMA = "a1111-worker/volume/1"
MAX_REGISTRY_BYTES = 64 * 1024 * 1024
_OLD_KINDS: dict[str, ModelKind] = {"checkpoints": "checkpoint", "loras": "lora", "embeddings": "embedding"}


class BrokenRegistry(ValueError):
    """The file is not a registry of any known form."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model on the volume.

    Attributes:
        kind: What it is.
        file: Path below the kind's folder.
        size: Bytes.
        sha256: 64 hex digits, measured while it was fetched; None when nobody has measured it.
        source: Key of the locator it came from (no secrets); None for files that people put there.
        also: Keys of other locators that lead to the same file.
        name: What people call it, when that differs from the file's stem.
        base_model: As `worker.models.format.detect` names them.
        trigger_words: As its source or its header tells them.
        etag: The source's word for this version of the file.
        fetched_at: Seconds since the epoch; for files that people put there, their time of change.
        last_used: Seconds since the epoch.
        uses: Jobs that used it.
        pinned: Never evicted.
        changed: The file's time of change when it was measured, nanoseconds; None where that was not written down.
        left_open: What `source` does not decide, in words; None: it means exactly this file.
    """

    kind: ModelKind
    file: str
    size: int
    sha256: str | None = None
    source: str | None = None
    also: tuple[str, ...] = ()
    name: str | None = None
    base_model: str | None = None
    trigger_words: tuple[str, ...] = ()
    etag: str | None = None
    fetched_at: float = 0.0
    last_used: float = 0.0
    uses: int = 0
    pinned: bool = False
    changed: int | None = None
    left_open: str | None = None

    @property
    def key(self) -> str:
        """``kind/file``."""
        return f"{self.kind}/{self.file}"

    @property
    def stem(self) -> str:
        """The file's name without folder and ending: the tag that the WebUI knows."""
        return PurePosixPath(self.file).stem


Entries = dict[str, Entry]
_SECOND = 10**9


def as_measured(entry: Entry, size: int, modified_ns: int) -> Entry | None:
    """Return what an entry says of a file of this size and time of change; None when it is of another.

    Of a file that has changed since it was measured nobody knows the hash. File systems that keep whole seconds tell
    no more than those.
    """
    if entry.size != size:
        return None
    if entry.sha256 is None or entry.changed is None or entry.changed == modified_ns:
        return entry
    coarse = entry.changed % _SECOND == 0 or modified_ns % _SECOND == 0
    same = coarse and entry.changed // _SECOND == modified_ns // _SECOND
    return entry if same else replace(entry, sha256=None)


@dataclass(frozen=True, slots=True)
class Use:
    """Uses of one model since the last flush."""

    count: int
    last: float


def encode(entries: Mapping[str, Entry]) -> bytes:
    """Return the registry's JSON, sorted, readable by people."""
    models = {key: _without_defaults(entries[key]) for key in sorted(entries)}
    return orjson.dumps({"schema": SCHEMA, "models": models}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def decode(raw: bytes) -> tuple[Entries, bool]:
    """Return the entries of a registry and whether it was of the old form and has been migrated.

    Entries that can't be read are left out: a scan of the folder finds their files again.

    Raises:
        BrokenRegistry: not JSON, or JSON of another kind.
    """
    try:
        data = orjson.loads(raw)
    except ValueError:
        raise BrokenRegistry("is not JSON") from None
    if not isinstance(data, dict):
        raise BrokenRegistry("is not a JSON object")
    if data.get("schema") == SCHEMA:
        models = data.get("models")
        if not isinstance(models, dict):
            raise BrokenRegistry("has no models")
        found = (_entry(facts) for facts in models.values())
        return {entry.key: entry for entry in found if entry is not None}, False
    if any(isinstance(data.get(old), dict) for old in _OLD_KINDS):
        return _migrated(data), True
    raise BrokenRegistry("is of no known form")


def used(entries: Mapping[str, Entry], uses: Mapping[str, Use]) -> Entries:
    """Return the entries with a batch of uses added; uses of models that are gone are dropped."""
    merged = dict(entries)
    for key, use in uses.items():
        entry = merged.get(key)
        if entry is not None:
            merged[key] = replace(entry, uses=entry.uses + use.count, last_used=max(entry.last_used, use.last))
    return merged


def by_source(entries: Iterable[Entry], source: str, kind: ModelKind) -> Entry | None:
    """Return the entry that came from this source."""
    return next((e for e in entries if e.kind == kind and (e.source == source or source in e.also)), None)


def _without_defaults(entry: Entry) -> dict[str, Any]:
    always = {"kind", "file", "size", "sha256", "source"}
    facts = asdict(entry)
    plain = {field.name: field.default for field in fields(Entry)}
    return {name: value for name, value in facts.items() if name in always or value != plain[name]}


def _entry(facts: Any) -> Entry | None:
    if not isinstance(facts, dict):
        return None
    kind, file, size = facts.get("kind"), facts.get("file"), facts.get("size")
    if kind not in MODEL_KINDS or not _is_inside(file) or not _is_count(size):
        return None
    return Entry(
        kind=cast("ModelKind", kind),
        file=cast("str", file),
        size=cast("int", size),
        sha256=_hash(facts.get("sha256")),
        changed=cast("int", facts.get("changed")) if _is_count(facts.get("changed")) else None,
        source=_text(facts.get("source")),
        also=_texts(facts.get("also")),
        name=_text(facts.get("name")),
        base_model=_text(facts.get("base_model")),
        trigger_words=_texts(facts.get("trigger_words")),
        etag=_text(facts.get("etag")),
        fetched_at=_time(facts.get("fetched_at")),
        last_used=_time(facts.get("last_used")),
        uses=cast("int", facts.get("uses")) if _is_count(facts.get("uses")) else 0,
        pinned=facts.get("pinned") is True,
        left_open=_text(facts.get("left_open")),
    )


def _migrated(data: Mapping[str, Any]) -> Entries:
    """Return the entries of the older form: ``{"checkpoints": {name: {url, path, hash, file_size}}, "loras": …}``."""
    from worker.models.format.filenames import BadReference  # noqa: PLC0415  only this path needs it
    from worker.models.sources.references import parse_locator  # noqa: PLC0415  only this path needs it

    entries: Entries = {}
    for old, kind in _OLD_KINDS.items():
        models = data.get(old)
        for name, facts in models.items() if isinstance(models, dict) else ():
            if not isinstance(facts, dict):
                continue
            path = facts.get("path")
            file = PurePosixPath(path).name if isinstance(path, str) else f"{name}.safetensors"
            size = facts.get("file_size")
            if not _is_inside(file) or not _is_count(size):
                continue
            try:
                locator = parse_locator(facts["url"]) if isinstance(facts.get("url"), str) else None
            except BadReference:
                locator = None
            entry = Entry(
                kind=kind,
                file=file,
                size=cast("int", size),
                sha256=_hash(facts.get("hash")),
                source=locator.key if locator else None,
                name=name if isinstance(name, str) else None,
                fetched_at=_time(facts.get("downloaded_at")),
                last_used=_time(facts.get("last_used")),
                uses=cast("int", facts.get("usage_count")) if _is_count(facts.get("usage_count")) else 0,
            )
            entries[entry.key] = entry
    return entries


def _is_inside(file: Any) -> bool:
    if not isinstance(file, str) or not file or "\0" in file or "\\" in file:
        return False
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts and not any(part.startswith(".") for part in path.parts)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _time(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 1e12 else 0.0  # noqa: PLR2004  the year 33658


def _hash(value: Any) -> str | None:
    if not isinstance(value, str) or len(value) != 64 or set(value.lower()) - set("0123456789abcdef"):  # noqa: PLR2004  SHA-256 in hex
        return None
    return value.lower()
