"""The result cache's limits, and results as files."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import pytest

from tests.support.pictures import png
from worker.contract.accept import accept
from worker.contract.rules.field_rules import is_reproducible
from worker.images.inspect import inspect
from worker.jobs.cache.cache_storage import CacheEntry, expired
from worker.jobs.cache.packed_results import BrokenResult, pack, unpack
from worker.jobs.results import Generated

RESULT = Generated(
    pictures=(inspect(png(infotext="a cat\nSteps: 1")), inspect(png(seed=2))),
    seeds=(7, 8),
    applied={"checkpoint": "x"},
    info={"all_seeds": [7, 8]},
    parameters={"steps": 1},
    warnings=("careful",),
    extras=(inspect(png(seed=3)),),
)


def entry(key: str, size: int, used: float) -> CacheEntry:
    return CacheEntry(key, size, used)


def test_what_is_too_old_goes() -> None:
    found = expired([entry("old", 1, 0), entry("new", 1, 90)], now=100, age_s=50, most_bytes=10)
    assert [one.key for one in found] == ["old"]


def test_what_was_used_longest_ago_goes_until_the_rest_fits() -> None:
    entries = [entry("a", 4, 1), entry("b", 4, 2), entry("c", 4, 3)]
    assert [one.key for one in expired(entries, now=4, age_s=50, most_bytes=8)] == ["a"]
    assert expired(entries, now=4, age_s=50, most_bytes=12) == []
    assert len(expired(entries, now=4, age_s=50, most_bytes=3)) == 3


def test_a_packed_result_is_the_same_result() -> None:
    found, more = unpack(pack(RESULT, made_at=3.5))
    assert found == RESULT
    assert more == {"made_at": 3.5}


@pytest.mark.parametrize("cut", [1, 100, 1000])
def test_a_cut_file_is_no_result(cut: int) -> None:
    with pytest.raises(BrokenResult):
        unpack(pack(RESULT)[:-cut])


def test_a_changed_byte_in_a_picture_is_no_result() -> None:
    data = bytearray(pack(RESULT))
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        place = file.getinfo("0.png").header_offset + 100
    data[place] ^= 1
    with pytest.raises(BrokenResult):
        unpack(bytes(data))


def test_checks_are_no_part_of_what_is_kept() -> None:
    found, _ = unpack(pack(replace(RESULT, checks=({"label": "nsfw"},))))
    assert found.checks is None


@pytest.mark.parametrize(
    ("fields", "fixed"),
    [
        ({"seed": 1}, True),
        ({}, False),
        ({"seed": -1}, False),
        ({"seeds": [1, 2]}, True),
        ({"seeds": [1, -1]}, False),
        ({"seed": 1, "subseed_strength": 0.5}, False),
        ({"seed": 1, "subseed_strength": 0.5, "subseed": -1}, False),
        ({"seed": 1, "subseed_strength": 0.5, "subseed": 0}, True),
        ({"seed": 1, "subseed_strength": 0.5, "subseed": 3}, True),
        ({"seed": 1, "subseed_strength": 0, "subseed": -1}, True),
        ({"seed": 0}, True),
        ({"seeds": [0, 1]}, True),
        ({"prompt": "", "prompts": ["a", "b"], "seed": 4}, True),
        ({"prompt": "", "prompts": ["a", {"prompt": "b", "seed": 3}]}, False),
    ],
)
def test_only_a_job_without_chance_is_reproducible(fields: dict[str, object], *, fixed: bool) -> None:
    assert is_reproducible(accept({"prompt": "a cat", **fields}).job) is fixed
