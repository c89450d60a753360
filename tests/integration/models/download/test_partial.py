"""What a killed or crashed fetch leaves for the next one: what was flushed for everybody, the rest for this machine."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from worker.models.download.partial import DiskFull, Partial
from worker.models.sources.http_file import Version

if TYPE_CHECKING:
    from pathlib import Path

VERSION = Version(1000, '"one"')


def _left_behind(folder: Path) -> Path:
    """A fetch that flushed 100 bytes and wrote 300 more before it ended; returns its record."""
    partial = Partial(folder, "x", "first")
    partial.begin(VERSION)
    partial.write(b"a" * 100, 0)
    partial.save([[0, 100]])
    partial.write(b"b" * 300, 100)
    partial.note([[0, 400]])
    partial.close()
    return folder / f"{partial.path.name}.ranges"


def test_what_was_only_written_counts_on_the_same_machine(tmp_path: Path) -> None:
    _left_behind(tmp_path)
    taker = Partial(tmp_path, "x", "second")
    assert taker.version == VERSION
    assert taker.spans.to_json() == [[0, 400]]
    taker.close()


def test_after_a_restart_of_the_machine_only_what_was_flushed_counts(tmp_path: Path) -> None:
    record = _left_behind(tmp_path)
    record.write_text(json.dumps({**json.loads(record.read_text()), "boot": "another"}))
    taker = Partial(tmp_path, "x", "second")
    assert taker.spans.to_json() == [[0, 100]]
    taker.note([[0, 500]])
    taker.close()
    left = json.loads((tmp_path / f"{taker.path.name}.ranges").read_text())
    assert left["done"] == [[0, 100]], "what nobody flushed is not called flushed by who takes it over"


def test_a_taker_that_is_killed_in_turn_hands_on_what_it_took(tmp_path: Path) -> None:
    _left_behind(tmp_path)
    Partial(tmp_path, "x", "second").close()
    third = Partial(tmp_path, "x", "third")
    assert third.spans.to_json() == [[0, 400]]
    third.close()


def test_what_a_failed_flush_may_have_lost_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network volume takes bytes into memory and refuses them when they are flushed, once."""
    partial = Partial(tmp_path, "x", "first")
    partial.begin(VERSION)
    partial.write(b"a" * 100, 0)
    partial.save([[0, 100]])
    partial.write(b"b" * 900, 100)
    partial.note([[0, 1000]])

    def refused(_: int) -> None:
        raise OSError(errno.EDQUOT, "over quota")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", refused)
        with pytest.raises(DiskFull):
            partial.finish(1000)
    partial.save([[0, 1000]])
    partial.note([[0, 1000]])
    assert partial.spans.to_json() == [[0, 100]]
    partial.close()
    taker = Partial(tmp_path, "x", "second")
    assert taker.spans.to_json() == [[0, 100]]
    taker.close()
