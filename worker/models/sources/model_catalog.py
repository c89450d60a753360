"""The catalog that ships: `models/cache_registry.json`, what each named model is and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from worker.errors import SettingsInvalid
from worker.models.format.filenames import match_key, safe_stem
from worker.models.sources.references import parse_locator
from worker.settings import ModelKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.models.sources.model_source import Locator

CATALOG_PATH = Path(__file__).resolve().parents[3] / "models" / "cache_registry.json"
SCHEMA = "a1111-worker/catalog/1"


class Recommended(BaseModel):
    """The publisher's recommendations for a model; None where there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip_skip: int | None = Field(None, ge=1, le=12)
    width: int | None = Field(None, ge=64, le=2048, multiple_of=8)
    height: int | None = Field(None, ge=64, le=2048, multiple_of=8)
    sampler: str | None = None


class CatalogEntry(BaseModel):
    """One named model.

    Attributes:
        folder: Below the kind's own folder, where the WebUI looks for this file alone.
        sources: Tried in order, in the forms that jobs use (`worker.models.sources.references`).
        about_bytes: Rounded, as the publisher or a public list says, for people who read the catalog.
        size: Bytes, exact; None until measured.
        sha256: Hex, 64 digits; None until measured.
        stated_by: The public source of the size, the hash or the trigger words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    aliases: tuple[str, ...] = ()
    kind: ModelKind
    folder: str | None = Field(None, pattern=r"^[a-z0-9_]+$")
    base_model: str | None = None
    sources: tuple[str, ...] = Field(min_length=1)
    size: int | None = Field(None, gt=0)
    about_bytes: int | None = Field(None, gt=0)
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    default_scale: float | None = Field(None, ge=-10, le=10)
    trigger_words: tuple[str, ...] = ()
    stated_by: str | None = None
    recommended: Recommended | None = None
    licence: str | None = None
    note: str | None = None

    @field_validator("sources")
    @classmethod
    def _are_locators(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for source in sources:
            if parse_locator(source) is None:  # BadReference is a ValueError: pydantic reports it as it is
                raise ValueError(f"{source!r} is no address")
        return sources

    @model_validator(mode="after")
    def _says_its_source(self) -> CatalogEntry:
        if self.sha256 is not None and self.stated_by is None:
            raise ValueError(f"{self.name!r} has a hash, so stated_by must say who states it")
        return self

    @property
    def stem(self) -> str:
        """The stem of the file's path on the volume; its last part is the name that the WebUI knows."""
        return "/".join((*filter(None, (self.folder,)), safe_stem(self.name)))

    @property
    def locators(self) -> tuple[Locator, ...]:
        """The places to fetch the model from, in order."""
        return tuple(found for source in self.sources if (found := parse_locator(source)) is not None)


class _CatalogFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal["a1111-worker/catalog/1"] = Field(alias="schema")
    models: list[CatalogEntry]


@dataclass(frozen=True, slots=True)
class ModelCatalog:
    """All named models, found by kind and name, alias or source."""

    entries: tuple[CatalogEntry, ...] = ()
    _by_name: dict[tuple[str, str], CatalogEntry] = field(init=False, repr=False, compare=False, default_factory=dict)
    _by_source: dict[str, CatalogEntry] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for entry in self.entries:
            for name in (entry.name, *entry.aliases, entry.stem):
                other = self._by_name.setdefault((entry.kind, match_key(name)), entry)
                if other is not entry:
                    raise ValueError(f"{name!r} names both {other.name!r} and {entry.name!r}")
            for locator in entry.locators:
                self._by_source.setdefault(locator.key, entry)
                for alias in locator.aliases:
                    self._by_source.setdefault(alias, entry)

    def named(self, name: str, kind: ModelKind) -> CatalogEntry | None:
        """Return the entry with this name or alias; case and separators don't count."""
        return self._by_name.get((kind, match_key(name)))

    def from_source(self, locator: Locator, kind: ModelKind) -> CatalogEntry | None:
        """Return the entry that is fetched from there; a bare CivitAI version stands for the file the catalog chose."""
        entry = self._by_source.get(locator.key)
        return entry if entry is not None and entry.kind == kind else None

    def of_kind(self, kind: ModelKind) -> Iterator[CatalogEntry]:
        """Yield the entries of one kind, in the file's order."""
        return (entry for entry in self.entries if entry.kind == kind)

    def other_kind(self, name: str, kind: ModelKind) -> CatalogEntry | None:
        """Return the entry of another kind with this name: what a client that mixed up two fields meant."""
        key = match_key(name)
        return next((entry for (of, known), entry in self._by_name.items() if known == key and of != kind), None)


def read_catalog(path: Path = CATALOG_PATH) -> ModelCatalog:
    """Return the catalog in `path`; an absent file is an empty catalog.

    Raises:
        SettingsInvalid: the file is not a catalog; the message names the entry and the field.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return ModelCatalog()
    try:
        return ModelCatalog(tuple(_CatalogFile.model_validate(orjson.loads(raw)).models))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsInvalid(f"the catalog {path.name} is wrong at {where}: {first['msg']}") from None
    except ValueError as error:
        raise SettingsInvalid(f"the catalog {path.name} can't be used: {error}") from None
