"""LoRAs that a prompt names by tag are looked for like those of a job's list."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support import safetensors as make
from tests.support.model_store import store
from worker.jobs.prepare import resolved_models
from worker.models.sources.model_catalog import read_catalog
from worker.webui.names import lora_tags
from worker.webui.names.catalog import Catalog, parse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.models.store import ModelStore

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[ModelStore]:
    make.write(tmp_path / "loras/my_style.safetensors", make.SD15_LORA)
    where = store(tmp_path, NOWHERE, catalog=read_catalog())
    yield where
    where.close()


def _listing(*loras: tuple[str, str]) -> Catalog:
    return parse({"loras": [{"name": name, "alias": alias, "path": f"/x/{name}.safetensors"} for name, alias in loras]})


def _read(volume: ModelStore, prompt: str, catalog: Catalog) -> resolved_models.TaggedLoras:
    return resolved_models.read_tags([("prompt", tag) for tag in lora_tags.parse(prompt)], volume, catalog)


def test_a_tag_in_another_spelling_means_the_file_on_the_volume(volume: ModelStore) -> None:
    meant = _read(volume, "a cat <lora:My Style:0.5>", _listing(("my_style", "my_style")))
    want = meant.wanted["My Style"]
    model = volume.find(want.ref, want.kind)
    assert model is not None
    assert meant.names({want.path: replace(want, file=model)}) == {"My Style": "my_style"}


def test_a_tag_of_the_catalog_is_wanted_though_its_file_is_not_there(volume: ModelStore) -> None:
    meant = _read(volume, "a cat <lora:Detail Tweaker XL:0.5>", _listing())
    want = meant.wanted["Detail Tweaker XL"]
    assert volume.find(want.ref, want.kind) is None
    assert volume.resolve(want.ref, want.kind).locators
    assert want.path == "prompt <lora:Detail Tweaker XL:0.5>"


def test_a_tag_by_the_name_inside_the_file_means_the_one_lora_that_has_it(volume: ModelStore) -> None:
    catalog = _listing(("old_file", "NiceStyle"), ("a", "Twice"), ("b", "Twice"))
    assert _read(volume, "<lora:NiceStyle:1>", catalog).names({}) == {"NiceStyle": "old_file"}
    assert _read(volume, "<lora:Twice:1>", catalog).names({}) == {}


def test_a_lora_that_the_webui_lists_is_not_replaced_by_a_kindred_one(volume: ModelStore) -> None:
    meant = _read(volume, "<lora:My_Style:1>", _listing(("My_Style", "My_Style"), ("my_style", "my_style")))
    assert meant == resolved_models.TaggedLoras({}, {})


@pytest.mark.parametrize("tag", ["<lora:../../etc/passwd:1>", "<lora::1>", "<lora:nobody knows:1>", "<hypernet:x:1>"])
def test_a_tag_that_nobody_knows_is_left_to_the_check_of_tags(volume: ModelStore, tag: str) -> None:
    assert _read(volume, f"a cat {tag}", _listing()) == resolved_models.TaggedLoras({}, {})
