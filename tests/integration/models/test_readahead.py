from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from worker.models.readahead import ReadAhead, available_memory, stage, warm

if TYPE_CHECKING:
    from pathlib import Path

BODY = bytes(range(256)) * 40_000


def _file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    path.write_bytes(BODY)
    return path


def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    done = ReadAhead(_file(tmp_path)).start().wait(10)
    assert done is not None
    assert (done.path, done.bytes) == (tmp_path / "model.safetensors", len(BODY))


def test_a_file_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    assert ReadAhead(tmp_path / "none").start().wait(10) is None


def test_a_read_ahead_can_be_stopped(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert warm(_file(tmp_path), stop) == 0


def test_a_staged_copy_is_whole_and_made_once(tmp_path: Path) -> None:
    path, folder = _file(tmp_path), tmp_path / "nvme"
    done = ReadAhead(path, staging=folder).start().wait(10)
    assert done is not None
    assert done.path == folder / path.name
    assert done.path.read_bytes() == BODY
    inode = done.path.stat().st_ino
    assert stage(path, folder, threading.Event()).stat().st_ino == inode
    path.write_bytes(BODY[::-1])
    os.utime(path, ns=(1, 1))
    assert stage(path, folder, threading.Event()).read_bytes() == BODY[::-1]
    assert [each.name for each in folder.iterdir()] == [path.name]


def test_a_stopped_copy_leaves_nothing(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    path = _file(tmp_path)
    assert stage(path, tmp_path / "nvme", stop) == path
    assert list((tmp_path / "nvme").iterdir()) == []


def test_the_memory_that_is_free_is_read_from_the_system(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   2048 kB\n")
    assert available_memory(tmp_path / "meminfo") == 2048 * 1024
    assert available_memory(tmp_path / "none") > 1 << 40
