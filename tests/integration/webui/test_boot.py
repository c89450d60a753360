"""From a spawned process to a loaded model: every way in which that goes wrong ends the start, with its cause."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support import models
from tests.support.loopback_http import serve
from tests.support.model_store import ranged
from tests.support.pace import stretched
from tests.support.webui_dir import environment, running_host
from worker.errors import BootFailed
from worker.settings import read_settings
from worker.webui.backend import Backend
from worker.webui.process import launch_plan as launch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECKPOINT = "Deliberate_v6.safetensors"


class Boot:
    """One start of the WebUI."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.environment = environment(folder, more)
        self.settings = read_settings(self.environment)
        checkpoint = self.settings.folder("checkpoint") / CHECKPOINT
        self.exits: list[tuple[float, str]] = []
        plan = launch.plan(self.settings, checkpoint, self.environment)
        self.backend = Backend(plan, on_exit=lambda how: self.exits.append((time.monotonic(), how)))


@pytest.fixture
def boots(tmp_path: Path) -> Iterator[list[Boot]]:
    started: list[Boot] = []
    yield started
    for boot in started:
        boot.backend.close(grace=0)


def fail(boot: Boot) -> BootFailed:
    boot.backend.spawn()
    with pytest.raises(BootFailed) as caught:
        boot.backend.wait_ready()
    return caught.value


def test_it_is_ready_when_the_model_that_was_asked_for_is_loaded(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path, STANDIN_LOAD_SECONDS="0.5"))
    boot = boots[0]
    began = time.monotonic()
    boot.backend.spawn()
    boot.backend.wait_ready()
    assert time.monotonic() - began >= 0.5
    assert boot.backend.started_model_name == "Deliberate_v6"
    assert {c.name for c in boot.backend.catalog.checkpoints} >= {"Deliberate_v6"}


def test_a_process_that_dies_is_noticed_within_a_second_with_its_last_lines(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path, STANDIN_FAULTS="boot-exit:code=3"))
    boot = boots[0]
    error = fail(boot)
    noticed = time.monotonic()
    assert "exit code 3" in error.message
    assert error.details["log"]
    assert noticed - boot.exits[0][0] < stretched(1)


def test_a_port_that_never_opens_ends_the_start_at_the_deadline(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path, STANDIN_FAULTS="no-port", BOOT_TIMEOUT_S="2"))
    began = time.monotonic()
    error = fail(boots[0])
    assert "deadline" in error.message
    assert time.monotonic() - began < stretched(4)


def test_a_model_that_never_loads_ends_the_start_at_the_deadline(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path, STANDIN_FAULTS="never-loads", BOOT_TIMEOUT_S="3"))
    error = fail(boots[0])
    assert "still loading" in error.message


def test_a_model_that_fails_to_load_ends_the_start_with_the_cause(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path))
    models.truncated(boots[0].settings.folder("checkpoint") / CHECKPOINT)
    error = fail(boots[0])
    assert "SafetensorError" in error.message
    assert error.hint is not None
    assert "damaged" in error.hint


def test_a_webui_that_can_not_use_the_gpu_that_is_there_ends_the_start(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path, NVIDIA_VISIBLE_DEVICES="all", STANDIN_LOAD_SECONDS="30"))
    began = time.monotonic()
    error = fail(boots[0])
    assert time.monotonic() - began < stretched(5), "told as soon as the port is open"
    assert "GPU" in error.message
    assert error.hint is not None
    assert "driver" in error.hint


def test_a_webui_that_has_the_gpu_that_was_promised_is_ready(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path, NVIDIA_VISIBLE_DEVICES="all", STANDIN_VRAM_GIB="24"))
    boots[0].backend.spawn()
    boots[0].backend.wait_ready()


def test_another_model_than_the_one_asked_for_is_an_error(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path, STANDIN_FAULTS="other-model"))
    error = fail(boots[0])
    assert "Deliberate_v6" in error.message


def test_a_default_checkpoint_that_is_not_there_is_an_error(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path))
    (boots[0].settings.folder("checkpoint") / CHECKPOINT).unlink()
    error = fail(boots[0])
    assert CHECKPOINT in error.message


def test_a_port_that_somebody_else_has_is_told_before_anything_starts(tmp_path: Path) -> None:
    import socket

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(BootFailed, match="taken"):
            Boot(tmp_path, WEBUI_PORT=str(other.getsockname()[1]))


def test_a_folder_that_can_not_be_made_is_replaced_by_an_empty_one(tmp_path: Path, boots: list[Boot]) -> None:
    (tmp_path / "file").touch()
    boots.append(Boot(tmp_path, LORA_DIR=str(tmp_path / "file" / "loras")))
    boots[0].backend.spawn()
    boots[0].backend.wait_ready()
    assert list(boots[0].backend.catalog.loras) == []


def test_closing_leaves_no_process_behind(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path))
    boot = boots[0]
    boot.backend.spawn()
    boot.backend.wait_ready()
    process = boot.backend._process
    assert process is not None
    boot.backend.close()
    assert not psutil.pid_exists(process.pid)
    assert boot.exits == []


def test_the_webui_sees_no_secrets(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path, HF_TOKEN="hf_sesame", BUCKET_SECRET_ACCESS_KEY="open"))
    boot = boots[0]
    boot.backend.spawn()
    boot.backend.wait_ready()
    process = boot.backend._process
    assert process is not None
    seen = psutil.Process(process.pid).environ()
    assert "hf_sesame" not in seen.values()
    assert "open" not in seen.values()


def test_a_default_checkpoint_that_is_not_on_the_volume_is_fetched_to_it_first(tmp_path: Path) -> None:
    data = models.checkpoint(tmp_path / "there" / "Fetched_v1.safetensors").read_bytes()
    with serve(lambda request: ranged(request, data)) as server:
        (tmp_path / "models").mkdir()
        more = {"DEFAULT_CHECKPOINT": f"{server.url}/Fetched_v1.safetensors", "ALLOW_HOSTS": "127.0.0.1"}
        with running_host(tmp_path, more) as host:
            assert host.backend.started_model_name.startswith("Fetched_v1")
            assert [file.size for file in host._models().volume.files("checkpoint")] == [len(data)]


def test_a_default_checkpoint_that_nobody_knows_ends_the_start_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(BootFailed, match="Nope_v9"), running_host(tmp_path, {"DEFAULT_CHECKPOINT": "Nope_v9"}):
        pass


def test_a_webui_with_a_hub_cache_of_its_own_is_started_offline(tmp_path: Path, boots: list[Boot]) -> None:
    boots.append(Boot(tmp_path, WEBUI_HUB_DIR="/opt/hub"))
    program = boots[0].backend.plan.program
    assert program is not None
    assert (program.environment["HF_HOME"], program.environment["HF_HUB_OFFLINE"]) == ("/opt/hub", "1")
