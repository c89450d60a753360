"""A worker that can not start: no job is taken, one message tells cause and hint, the exit is prompt and a failure."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import disks
from tests.support.jobsource import JobSource
from tests.support.pace import stretched
from tests.support.rig import Rig
from tests.support.servers.proxy import proxy
from tests.support.standin import running_standin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOO_OLD = "CUDA initialization: The NVIDIA driver on your system is too old (found version 11040)."
NO_KERNEL = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
NO_SPACE = "OSError: [Errno 28] No space left on device: '/stable-diffusion-webui/cache'"


@pytest.fixture
def source() -> Iterator[JobSource]:
    with JobSource(hold_s=1.0) as source:
        yield source


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for some bytes, but for few files."""
    with disks.small_disk(tmp_path, "size=200m,nr_inodes=8") as disk:
        yield disk


def end_of(rig: Rig) -> dict[str, Any]:
    """Return the one message of a worker that has failed to start, and took no job."""
    rig.offer()
    assert rig.worker.wait() == 1
    ends = [json.loads(line) for line in rig.worker.log.splitlines() if "can't start" in line]
    assert len(ends) == 1, rig.worker.log
    assert "Traceback" not in json.dumps({name: value for name, value in ends[0].items() if name != "log"})
    assert ends[0]["code"] == "webui_boot_failed"
    assert ends[0]["hint"]
    assert rig.source.events("take") == []
    rig.worker.assert_nothing_left()
    end: dict[str, Any] = ends[0]
    return end


@pytest.mark.parametrize(
    ("message", "hint"),
    [
        (TOO_OLD, "driver and the image's CUDA do not fit"),
        pytest.param(NO_KERNEL, "CUDA 12.8 variant", marks=pytest.mark.slow),
        pytest.param(NO_SPACE, "disk is full", marks=pytest.mark.slow),
        pytest.param("AssertionError: Torch is not able to use GPU", "no usable GPU", marks=pytest.mark.slow),
    ],
)
def test_a_webui_that_ends_at_its_start_ends_the_worker_within_a_second(
    tmp_path: Path, source: JobSource, message: str, hint: str
) -> None:
    faults = json.dumps({"fault": "boot-exit", "code": 1, "seconds": 1, "message": message})
    with Rig(tmp_path, source, STANDIN_FAULTS=faults) as rig:
        died = rig.worker.wait_line('"event":"ended"')
        end = end_of(rig)
        assert rig.worker.exited_at() - died < stretched(1)
    assert "exit code 1" in end["error"]
    assert message in json.dumps(end["log"], ensure_ascii=False)
    assert hint in end["hint"]


@pytest.mark.parametrize("when", ["at its start", "at a restart"])
def test_another_webui_on_its_port_is_never_asked_for_pictures(tmp_path: Path, source: JobSource, when: str) -> None:
    with (
        running_standin(tmp_path / "other") as other,
        Rig(tmp_path, source, STANDIN_IMPORT_SECONDS="2", RESTARTS="1") as rig,
    ):
        port, other_port = int(rig.environment["WEBUI_PORT"]), int(other.url.rpartition(":")[2])
        if when == "at its start":
            rig.worker.wait_line("spawned")
        else:
            assert "images" in rig.run()
            rig.webui().kill()
            rig.worker.wait_line('"event":"ended"')
        with proxy("127.0.0.1", other_port, listen_at=port):
            if when == "at its start":
                end = end_of(rig)
                assert end["error"] == f"port {port} is taken by another program"
                assert "WEBUI_PORT" in end["hint"]
            else:
                answer = rig.run(prompt="a dog")
                assert answer["error_code"] == "webui_crashed"
                assert "taken by another program" in answer["error"]
                assert rig.worker.wait() == 1
                rig.worker.assert_nothing_left()
        assert [entry for entry in other.requests("txt2img") if entry["json"].get("prompt")] == []


def test_without_the_gpu_that_was_promised_nothing_is_started(tmp_path: Path, source: JobSource) -> None:
    with Rig(tmp_path, source, NVIDIA_VISIBLE_DEVICES="all") as rig:
        end = end_of(rig)
        assert "spawned" not in rig.worker.log
    assert "GPU" in end["error"]


def test_models_on_a_volume_that_is_not_attached_are_not_fetched_into_the_container(
    tmp_path: Path, source: JobSource
) -> None:
    with Rig(tmp_path, source, MODELS_DIR="/runpod-volume/models") as rig:
        end = end_of(rig)
    assert "/runpod-volume" in end["error"]
    assert "network volume" in end["hint"]
    assert not os.path.lexists("/runpod-volume")


def test_a_disk_that_is_full_at_the_start_is_told(tmp_path: Path, source: JobSource, small_disk: Path) -> None:
    with contextlib.suppress(OSError):
        for number in range(20):
            (small_disk / str(number)).touch()
    (small_disk / "0").unlink()  # there is space, but for one folder or file only
    with Rig(tmp_path, source, TMPDIR=str(small_disk)) as rig:
        end = end_of(rig)
    assert "No space left on device" in end["error"]
    assert "disk" in end["hint"]


def test_a_disk_without_space_is_told_before_anything_starts(tmp_path: Path, source: JobSource) -> None:
    began = time.monotonic()
    with disks.small_disk(tmp_path, "size=1m") as disk, Rig(tmp_path, source, TMPDIR=str(disk)) as rig:
        end = end_of(rig)
        assert rig.worker.exited_at() - began < stretched(5)
    assert "0.0 GiB free" in end["error"]
