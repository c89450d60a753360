"""A model file is replaced by another of its name while the WebUI has it in use: A1111 uses the old one on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import Worker
from tests.integration.webui.test_elsewhere import host_of
from tests.support.rig import pixels
from tests.support.standin import running_standin
from tests.support.webui_dir import running_host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR_NS = 3600 * 10**9


@pytest.fixture(params=["started by the worker", "somebody else's"])
def worker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Worker]:
    if request.param == "started by the worker":
        with running_host(tmp_path) as host:
            yield Worker(host)
        return
    with running_standin(tmp_path) as webui:
        host = host_of(webui, tmp_path / "here", DEFAULT_CHECKPOINT="Deliberate_v6")
        host.spawn()
        host.wait_ready()
        yield Worker(host)
        host.close()


def _age(file: Path, hours: int) -> None:
    """Give a file a time of its own, as a replacement has."""
    moment = file.stat().st_mtime_ns + hours * HOUR_NS
    os.utime(file, ns=(moment, moment))


def test_a_replaced_lora_is_read_again(worker: Worker, tmp_path: Path) -> None:
    file = tmp_path / "models/loras/add_detail.safetensors"
    first, again = (worker.run(loras=["add_detail"])["images"][0] for _ in range(2))
    assert pixels(first) == pixels(again)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    _age(file, 1)
    other = worker.run(loras=["add_detail"])
    assert pixels(other["images"][0]) != pixels(first)
    assert pixels(worker.run(loras=["add_detail"])["images"][0]) == pixels(other["images"][0])


def test_a_lora_replaced_by_an_older_file_is_read_again(tmp_path: Path) -> None:
    with running_host(tmp_path) as host:
        worker, pid = Worker(host), host.backend.pid
        worker.run(loras=["add_detail"])
        _age(tmp_path / "models/loras/add_detail.safetensors", -1)
        assert "images" in worker.run(loras=["add_detail"])
        assert host.backend.pid != pid


def test_a_replaced_checkpoint_is_loaded_again(tmp_path: Path) -> None:
    with running_host(tmp_path) as host:
        worker, pid = Worker(host), host.backend.pid
        first = worker.run()
        _age(tmp_path / "models/checkpoints/Deliberate_v6.safetensors", 1)
        assert worker.run()["images"] == first["images"]
        assert host.backend.pid != pid
        pid = host.backend.pid
        assert worker.run()["images"] == first["images"]
        assert host.backend.pid == pid
