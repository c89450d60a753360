from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from worker.models.local_disk.readahead import ReadAhead, available_memory, warm

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
    assert done.bytes == len(BODY)


def test_a_file_that_is_gone_does_no_harm(tmp_path: Path) -> None:
    assert ReadAhead(tmp_path / "none").start().wait(10) is None


def test_a_read_ahead_can_be_stopped(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert warm(_file(tmp_path), stop) == 0


def test_the_memory_that_is_free_is_read_from_the_system(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   2048 kB\n")
    assert available_memory(tmp_path / "meminfo") == 2048 * 1024
    assert available_memory(tmp_path / "none") > 1 << 40
