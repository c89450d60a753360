from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.safetensors import SD15_LORA, SDXL_LORA, safetensors, write
from worker.models.format.safetensors import (
    BrokenHeader,
    Header,
    WrongLength,
    header_length,
    is_fine_so_far,
    parse_header,
    read_header,
)

if TYPE_CHECKING:
    from pathlib import Path


def _file(header: Any, body: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + body


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(safetensors(SDXL_LORA, metadata={"ss_sd_model_name": "pony.safetensors"}))
    header = read_header(path)
    assert header.metadata == {"ss_sd_model_name": "pony.safetensors"}
    assert [tensor.shape for tensor in header.tensors.values()] == [(4, 2048)]
    assert header.file_bytes == path.stat().st_size


_TENSOR = {"dtype": "F16", "shape": [2, 2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "0 bytes"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b'{"error": "Unauthorized"}', "JSON text"),
        (b"PK\x03\x04\x14\x00\x08\x08rest", "zip or pickle"),
        (b"version https://git-lfs.github.com/spec/v1", "Git LFS"),
        (b"\xff" * 100, "does not start like"),
        (struct.pack("<Q", 100) + b"{}", "ends inside its header"),
        (_file(b"{nope"), "not JSON"),
        (_file([]), "not a JSON object"),
        (_file({"a": 1}), "not described"),
        (_file({"__metadata__": {"epoch": 3}, "a": _TENSOR}, bytes(8)), "not an object of texts"),
        (_file({"__metadata__": [], "a": _TENSOR}, bytes(8)), "not an object of texts"),
        (_file({"a": _TENSOR}), "its header says"),
        (_file({"a": _TENSOR}, bytes(9)), "its header says"),
        (_file({"a": {**_TENSOR, "dtype": "F7"}}, bytes(8)), "unknown type"),
        (_file({"a": {**_TENSOR, "shape": [-1]}}, bytes(8)), "no valid shape"),
        (_file({"a": {**_TENSOR, "shape": [2, True]}}, bytes(8)), "no valid shape"),
        (_file({"a": {**_TENSOR, "shape": [2, 3]}}, bytes(8)), "does not fit its shape"),
        (_file({"a": {**_TENSOR, "data_offsets": [8, 0]}}, bytes(8)), "does not fit its shape"),
        (_file({"a": {**_TENSOR, "data_offsets": [0]}}, bytes(8)), "no valid offsets"),
        (_file({"a": _TENSOR, "b": _TENSOR}, bytes(8)), "does not start where"),
        (_file({"a": {**_TENSOR, "data_offsets": [8, 16]}}, bytes(16)), "does not start where"),
    ],
)
def test_a_broken_file_is_told_apart(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(raw)
    with pytest.raises(BrokenHeader, match=message):
        read_header(path)


def _outcome(raw: bytes) -> Header | None:
    try:
        length = header_length(raw)
        return parse_header(raw[8 : 8 + length])
    except BrokenHeader:
        return None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_a_clear_refusal(raw: bytes) -> None:
    _outcome(raw)
    _outcome(struct.pack("<Q", len(raw)) + raw)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_FACTS = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F16", "U8", "F4", "nope"]) | _JSON,
        "shape": st.lists(st.integers(-1, 1 << 70), max_size=4) | _JSON,
        "data_offsets": st.lists(st.integers(-1, 1 << 70), min_size=2, max_size=2) | _JSON,
    },
)


@settings(max_examples=100)
@given(st.dictionaries(st.text(max_size=8), _FACTS | _JSON, max_size=4))
def test_any_json_is_a_header_or_a_clear_refusal(data: dict[str, Any]) -> None:
    header = _outcome(_file(data))
    if header is not None:
        assert header.file_bytes >= 8


@settings(max_examples=80)
@given(st.data())
def test_a_damaged_real_file_never_passes_with_another_length(data: st.DataObject) -> None:
    whole = safetensors(SDXL_LORA)
    cut = data.draw(st.integers(8, len(whole) - 1))
    header = _outcome(whole[:cut])
    assert header is None or header.file_bytes == len(whole)


@pytest.mark.parametrize(("front", "is_known"), [(0, False), (7, False), (8, False), (60, False), (None, True)])
def test_a_beginning_is_judged_once_its_whole_header_is_there(
    tmp_path: Path, front: int | None, *, is_known: bool
) -> None:
    path = write(tmp_path / "part", SD15_LORA)
    size = path.stat().st_size
    with path.open("rb") as file:
        assert is_fine_so_far("a.safetensors", file.fileno(), size if front is None else front, size) is is_known


def test_a_source_that_offers_another_length_than_the_header_asks_for_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "part", SD15_LORA)
    size = path.stat().st_size
    with path.open("rb") as file, pytest.raises(WrongLength, match=f"it has {size + 1} bytes"):
        is_fine_so_far("a.safetensors", file.fileno(), size, size + 1)


def test_of_a_pickle_the_first_bytes_tell_only_what_it_is_not(tmp_path: Path) -> None:
    for start, is_model in ((b"PK\x03\x04" + b"x" * 20, True), (b"<!DOCTYPE html><html>" + b" " * 9, False)):
        path = tmp_path / "part"
        path.write_bytes(start)
        with path.open("rb") as file:
            if is_model:
                assert is_fine_so_far("a.ckpt", file.fileno(), len(start), None)
            else:
                with pytest.raises(BrokenHeader):
                    is_fine_so_far("a.ckpt", file.fileno(), len(start), None)
