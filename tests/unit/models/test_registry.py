from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.models.volume.registry import BrokenRegistry, Entry, Use, as_measured, decode, encode, used


def test_what_is_written_is_read_back() -> None:
    entry = Entry(
        "lora",
        "a/x.safetensors",
        7,
        "ab" * 32,
        "civitai:1",
        ("hf:a/b/c",),
        "X",
        "SDXL",
        ("t",),
        "e",
        1.5,
        2.5,
        3,
        pinned=True,
    )
    assert decode(encode({entry.key: entry})) == ({entry.key: entry}, False)


def test_the_older_form_is_migrated() -> None:
    old = {
        "checkpoints": {
            "My Model": {
                "url": "https://civitai.com/api/download/models/1590699",
                "path": "/runpod-volume/models/checkpoints/My Model.safetensors",
                "hash": "AB" * 32,
                "downloaded_at": 5.0,
                "last_used": 6.0,
                "usage_count": 4,
                "file_size": 100,
            }
        },
        "loras": {"broken": 7, "evil": {"path": "/x/..", "file_size": 1}},
        "embeddings": {},
        "last_updated": 1.0,
    }
    entries, migrated = decode(orjson.dumps(old))
    assert migrated
    assert list(entries.values()) == [
        Entry(
            "checkpoint", "My Model.safetensors", 100, "ab" * 32, "civitai:1590699", name="My Model",
            fetched_at=5.0, last_used=6.0, uses=4,
        )
    ]  # fmt: skip


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"{}", b'{"schema": "a1111-worker/volume/1"}', b'{"a": 1}', b"\xff"])
def test_a_broken_registry_is_recognised(raw: bytes) -> None:
    with pytest.raises(BrokenRegistry):
        decode(raw)


@pytest.mark.parametrize("file", ["../x", "/x", ".hidden", "a/../b", "a\\b", "", "a\0b"])
def test_an_entry_that_leaves_its_folder_is_dropped(file: str) -> None:
    raw = orjson.dumps({"schema": "a1111-worker/volume/1", "models": {"x": {"kind": "lora", "file": file, "size": 1}}})
    assert decode(raw) == ({}, False)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 62) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = list(Entry.__dataclass_fields__)


@given(
    st.dictionaries(
        st.text(max_size=8), st.dictionaries(st.sampled_from(_FIELDS), _JSON | st.just("lora"), max_size=8) | _JSON
    )
)
def test_any_json_in_a_registry_is_read_or_refused_and_what_is_read_can_be_written(models: dict[str, Any]) -> None:
    for data in ({"schema": "a1111-worker/volume/1", "models": models}, {"loras": models}, models):
        try:
            entries, _ = decode(orjson.dumps(data, option=orjson.OPT_PASSTHROUGH_SUBCLASS))
        except BrokenRegistry:
            continue
        assert decode(encode(entries))[0] == entries


@given(st.binary(max_size=100))
def test_any_bytes_are_a_registry_or_refused(raw: bytes) -> None:
    try:
        decode(raw)
    except BrokenRegistry:
        return


def test_uses_add_up_and_time_never_goes_back() -> None:
    entry = Entry("lora", "x", 1, uses=2, last_used=50.0)
    merged = used({"lora/x": entry}, {"lora/x": Use(3, 40.0), "lora/gone": Use(1, 60.0)})
    assert (merged["lora/x"].uses, merged["lora/x"].last_used) == (5, 50.0)
    assert list(merged) == ["lora/x"]


@pytest.mark.parametrize(
    ("changed", "now", "known"),
    [
        (1_700_000_000_123_456_789, 1_700_000_000_123_456_789, True),
        (1_700_000_000_123_456_789, 1_700_000_000_123_456_790, False),
        (1_700_000_000_123_456_789, 1_700_000_000_000_000_000, True),  # seen through a mount that keeps seconds
        (1_700_000_000_000_000_000, 1_700_000_001_000_000_000, False),
        (None, 1_700_000_000_000_000_000, True),  # of an older registry
    ],
)
def test_a_hash_holds_as_long_as_the_file_has_not_changed(changed: int | None, now: int, *, known: bool) -> None:
    entry = Entry("lora", "x.safetensors", 100, sha256="a" * 64, source="url:x", changed=changed)
    found = as_measured(entry, 100, now)
    assert found is not None
    assert (found.sha256 is not None, found.source) == (known, "url:x")
    assert as_measured(entry, 99, now) is None
    assert decode(encode({entry.key: entry}))[0] == {entry.key: entry}
