"""A disk that is full while jobs run: for kept answers, for the models' registry and new models, for the log."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.support import disks, webui_dir
from tests.support.jobsource import JobSource
from tests.support.loopback_http import serve
from tests.support.model_store import ranged
from tests.support.rig import SMALL, Rig, pixels
from tests.support.workerproc import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path, "size=1m") as disk:
        yield disk


def test_answers_are_given_though_they_can_not_be_kept(tmp_path: Path, small_disk: Path) -> None:
    disks.fill(small_disk / "filling")
    closed = {
        "endpointUrl": "http://127.0.0.1:9",
        "bucketName": "pics",
        "accessId": "somebody",
        "accessSecret": "some-secret",
    }
    with (
        JobSource(hold_s=1.0) as source,
        Rig(tmp_path, source, RESULTS_DIR=str(small_disk / "kept"), ALLOW_HOSTS="127.0.0.1") as rig,
    ):
        right = pixels(rig.run()["images"][0])
        answer = rig.answer(source.offer({"input": {**SMALL, "output": {"delivery": "s3"}}, "s3Config": closed}))
        assert answer["error_code"] == "delivery_failed"
        assert answer["details"]["kept"] == []
        (small_disk / "filling").unlink()
        assert pixels(rig.run()["images"][0]) == right
        assert len(list(small_disk.glob("kept/*/answer.json"))) == 1
        assert not list(small_disk.rglob("*.tmp"))
        assert "could not be kept" in rig.worker.log


def test_a_full_volume_serves_what_is_there_and_says_what_has_no_place(tmp_path: Path, small_disk: Path) -> None:
    webui_dir.environment(tmp_path)  # writes the models
    (tmp_path / "models").rename(tmp_path / "outside")
    subprocess.run(["cp", "-r", str(tmp_path / "outside"), str(small_disk / "models")], check=True)
    (tmp_path / "models").symlink_to(small_disk / "models")
    new = (tmp_path / "outside" / "loras" / "add_detail.safetensors").read_bytes()
    with (
        serve(lambda request: ranged(request, new)) as server,
        JobSource(hold_s=1.0) as source,
        Rig(tmp_path, source, MODEL_EVICT="false", MODEL_FREE_BYTES="0", ALLOW_HOSTS="127.0.0.1") as rig,
    ):
        styled: dict[str, Any] = {"loras": [{"name": "style_two", "scale": 0.7}]}
        right = pixels(rig.run(**styled)["images"][0])
        disks.fill(small_disk / "filling")
        assert pixels(rig.run(**styled)["images"][0]) == right
        assert pixels(rig.run(**styled, checkpoint="Other_v1")["images"][0]) != right
        lora = {"loras": [{"url": f"{server.url}/new_one.safetensors"}]}
        assert rig.run(**lora)["error_code"] == "no_space"
        (small_disk / "filling").unlink()
        assert "images" in rig.run(**lora)
        assert not list(small_disk.rglob("*.tmp"))


@pytest.mark.slow
def test_a_log_on_a_full_disk_costs_no_job(tmp_path: Path) -> None:
    with JobSource(hold_s=1.0) as source, open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        environment = {
            **os.environ,
            **webui_dir.environment(tmp_path),
            **source.worker_env(),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        worker = subprocess.Popen(
            [sys.executable, str(ROOT / "handler.py")], cwd=tmp_path, env=environment, stdout=full, stderr=full
        )
        try:
            image = source.wait_result(source.offer(**SMALL), 30).output["images"][0]
            assert Image.open(io.BytesIO(base64.b64decode(image))).size == (64, 64)
            worker.terminate()
            assert worker.wait(20) == 0
        finally:
            worker.kill()


@pytest.mark.slow
def test_a_webui_is_restarted_although_the_disk_of_its_options_is_full(tmp_path: Path) -> None:
    with (
        disks.small_disk(tmp_path, "size=110m") as disk,
        JobSource(hold_s=1.0) as source,
        Rig(tmp_path, source, TMPDIR=str(disk), RESTARTS="1") as rig,
    ):
        right = pixels(rig.run()["images"][0])
        disks.fill(disk / "filling")
        rig.webui().kill()
        assert pixels(rig.run()["images"][0]) == right
        assert not list(disk.rglob("*.tmp"))
