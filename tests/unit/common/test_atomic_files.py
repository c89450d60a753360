from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from worker.common.atomic_files import temporary_pattern, write_atomically

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_and_nothing_else_is_left_behind(tmp_path: Path, *, durable: bool) -> None:
    target = tmp_path / "a.json"
    for content in (b"old", b"new"):
        write_atomically(target, content, durable=durable)
        assert target.read_bytes() == content
    assert list(tmp_path.iterdir()) == [target]


def test_a_write_that_fails_leaves_the_old_content_and_no_temporary_file(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    (target / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_atomically(target, b"new")
    assert list(tmp_path.iterdir()) == [target]


def test_a_reader_with_the_old_file_open_keeps_reading_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_atomically(target, b"old")
    with target.open("rb") as reader:
        write_atomically(target, b"much longer than before")
        assert reader.read() == b"old"


def test_the_file_is_flushed_before_it_gets_its_name_where_it_has_to_be_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.json"
    pattern = temporary_pattern(target.name)
    flushed: list[list[str]] = []
    monkeypatch.setattr(os, "fsync", lambda _: flushed.append([path.name for path in tmp_path.glob(pattern)]))
    write_atomically(target, b"1", durable=False)
    assert flushed == []
    write_atomically(target, b"2")
    assert len(flushed) == len(flushed[0]) == 1
