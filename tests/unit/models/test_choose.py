from __future__ import annotations

from typing import Any

import pytest

from worker.contract.types.model_ref import ModelRef
from worker.models.sources.civitai import Civitai
from worker.models.sources.model_catalog import read_catalog
from worker.models.sources.web import Web
from worker.models.volume.model_resolver import Resolution, resolve
from worker.models.volume.registry import Entry

_URL = "https://h.example/model.safetensors"


def _choose(raw: Any, *names: str, entries: tuple[Entry, ...] = (), kind: str = "lora") -> Resolution:
    return resolve(
        ModelRef.model_validate(raw),
        kind,  # type: ignore[arg-type]  # a literal of the table below
        names=names,
        entries={entry.key: entry for entry in entries},
        catalog=read_catalog(),
    )


@pytest.mark.parametrize("spelling", ["x", "x.safetensors", "X", "sub/x", "sub/x.safetensors"])
def test_a_file_is_found_by_its_name(spelling: str) -> None:
    assert _choose(spelling, "other.safetensors", "sub/x.safetensors").file == "sub/x.safetensors"


def test_a_loose_spelling_that_fits_two_files_means_neither() -> None:
    assert _choose("a b", "a_b.safetensors", "a-b.safetensors").file is None


def test_a_part_of_a_name_is_not_the_name() -> None:
    assert _choose("det", "detail.safetensors").file is None


@pytest.mark.parametrize("file", ["Detail_Tweaker_XL.safetensors", "Detail Tweaker XL.safetensors"])
def test_a_catalog_name_finds_the_file_under_either_spelling(file: str) -> None:
    resolution = _choose("detail tweaker", file)
    assert resolution.file == file
    assert resolution.catalog is not None


def test_a_catalog_name_that_is_not_there_says_where_to_fetch_it_and_how_to_call_it() -> None:
    resolution = _choose("detail tweaker")
    assert resolution.locators == (Civitai(135867),)
    assert resolution.stem == "Detail_Tweaker_XL"


def test_a_catalog_source_finds_the_catalog_file() -> None:
    assert _choose("civitai:135867", "Detail_Tweaker_XL.safetensors").file == "Detail_Tweaker_XL.safetensors"
    assert _choose("135867", "Detail_Tweaker_XL.safetensors").file == "Detail_Tweaker_XL.safetensors"


def test_two_urls_with_the_same_file_name_never_share_a_file() -> None:
    first = Entry("lora", "model.safetensors", 1, source=Web(_URL).key)
    assert _choose(_URL, "model.safetensors", entries=(first,)).file == "model.safetensors"
    assert _choose("https://other.example/model.safetensors", "model.safetensors", entries=(first,)).file is None
    assert _choose(_URL, "model.safetensors").file is None


def test_the_same_name_with_another_url_is_another_file() -> None:
    entry = Entry("lora", "mine.safetensors", 1, source=Web(_URL).key)
    again = _choose({"name": "mine", "url": _URL}, "mine.safetensors", entries=(entry,))
    other = _choose({"name": "mine", "url": f"{_URL}?v=2"}, "mine.safetensors", entries=(entry,))
    assert again.file == "mine.safetensors"
    assert other.file is None
    assert other.stem is not None
    assert other.stem.startswith("mine-")


def test_a_file_that_people_put_there_is_what_a_named_url_means() -> None:
    assert _choose({"name": "My LoRA", "url": _URL}, "My LoRA.safetensors").file == "My LoRA.safetensors"


def test_a_fetched_file_is_found_by_its_source_after_the_registry_was_lost() -> None:
    suffix = _choose(_URL).suffix
    assert _choose(_URL, f"model-{suffix}.safetensors").file == f"model-{suffix}.safetensors"
    assert _choose("civitai:77", "pretty-77.safetensors").file == "pretty-77.safetensors"


def test_the_same_content_is_not_fetched_twice() -> None:
    entry = Entry("lora", "x.safetensors", 1, sha256="ab" * 32)
    assert _choose({"url": _URL, "sha256": "ab" * 32}, "x.safetensors", entries=(entry,)).file == "x.safetensors"
    assert _choose({"url": _URL, "sha256": "ab" * 5}, "x.safetensors", entries=(entry,)).file == "x.safetensors"


def test_an_entry_without_its_file_is_nothing() -> None:
    entry = Entry("lora", "gone.safetensors", 1, source=Web(_URL).key)
    assert _choose(_URL, entries=(entry,)).file is None


@pytest.mark.parametrize("spelling", ["Detail Tweaker XL", "Detail_Tweaker_XL", "detail tweaker"])
def test_a_file_from_elsewhere_under_a_catalog_name_is_not_the_catalogs_model(spelling: str) -> None:
    foreign = Entry("lora", "Detail_Tweaker_XL.safetensors", 1, source=Web(_URL).key, name="Detail Tweaker XL")
    resolution = _choose(spelling, foreign.file, entries=(foreign,))
    assert resolution.file is None
    assert resolution.locators == (Civitai(135867),)
    assert resolution.stem == "Detail_Tweaker_XL-135867"
    own = Entry("lora", "Detail_Tweaker_XL-135867.safetensors", 1, source="civitai:135867")
    assert _choose(spelling, foreign.file, own.file, entries=(foreign, own)).file == own.file


@pytest.mark.parametrize("name", ["細部 αβ", "Café au lait"])
def test_a_name_that_no_file_can_have_is_found_by_what_it_was_fetched_as(name: str) -> None:
    fetched = Entry("lora", "model-1234.safetensors", 1, source=Web(_URL).key, name=name)
    assert _choose(name, fetched.file, entries=(fetched,)).file == fetched.file
    twin = Entry("lora", "model-5678.safetensors", 1, source="civitai:5678", name=name)
    assert _choose(name, fetched.file, twin.file, entries=(fetched, twin)).file is None


@pytest.mark.parametrize("name", ["a<b>", "sub/a b", "🙂"])
def test_the_very_name_counts_more_than_a_file_of_a_similar_one(name: str) -> None:
    fetched = Entry("lora", "a_b-1234.safetensors", 1, source=Web(_URL).key, name=name)
    assert _choose(name, fetched.file, "a_b.safetensors", entries=(fetched,)).file == fetched.file


def test_a_file_of_another_source_that_ends_like_a_version_is_not_that_version() -> None:
    other = Entry("lora", "style-77.safetensors", 1, source=Web(_URL).key)
    assert _choose("civitai:77", other.file, entries=(other,)).file is None
    assert _choose("civitai:77", other.file).file == other.file
