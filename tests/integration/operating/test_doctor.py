"""`python -m worker check`: what it finds on machines that are well and on those that are not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import models
from tests.support.loopback_http import Reply, serve
from tests.support.ports import free_port
from tests.support.servers.s3 import ACCESS_KEY, SECRET_KEY, running_store
from tests.support.webui_dir import environment, running_host
from tests.support.workerproc import ROOT
from worker.doctor import outside, volume, webui
from worker.doctor.quick import gpus, refuse_the_hopeless, refuse_unwritable
from worker.errors import BootFailed, SettingsInvalid
from worker.settings import read_settings
from worker.telemetry.gpu import Driver, Gpu, Gpus


def check(folder: Path, *arguments: str, **variables: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = subprocess.run(
        [sys.executable, "-m", "worker", "check", "--json", *arguments],
        cwd=folder,
        env={**environment(folder), "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)}


def test_a_machine_without_torch_and_with_a_broken_model_is_told_so(tmp_path: Path) -> None:
    root = tmp_path / "models"
    models.model_folders(root)
    models.truncated(root / "loras" / "style_two.safetensors")
    code, found = check(tmp_path)
    assert code == 1
    assert {name for name, finding in found.items() if finding["state"] == "fail"} == {"torch", "model file"}
    assert "style_two.safetensors" in found["model file"]["seen"]
    assert found["checkpoints"]["seen"].startswith("3 in ")
    assert "MB/s over" in found["volume speed"]["seen"]
    assert found["delivery"]["seen"].startswith("inline")
    assert all(finding["fix"] for finding in found.values() if finding["state"] != "ok")


def test_the_quick_part_looks_at_nothing_slow(tmp_path: Path) -> None:
    code, found = check(tmp_path, "--quick")
    assert code == 0
    assert set(found) == {"versions", "WEBUI_PORT", "HTTP_PORT", "OUT_DIR", "container disk", "GPU"}


def test_a_taken_port_ends_the_start_before_anything_is_spawned(tmp_path: Path) -> None:
    with serve(lambda _: Reply()) as other:
        port = other.url.rsplit(":", 1)[1]
        settings = read_settings(environment(tmp_path, {"WEBUI_PORT": port}))
        with pytest.raises(BootFailed, match=f"WEBUI_PORT: {port} is taken") as caught:
            refuse_the_hopeless(settings, gpu=False)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"WEBUI_DIR": "/nowhere"}, "WebUI: WEBUI_DIR is /nowhere, but there is no such folder"),
        ({"WEBUI_DIR": "/proc"}, "WebUI: /proc has no launch.py"),
        (
            {"BUCKET_ENDPOINT_URL": "https://s3.example.com/b"},
            "delivery: BUCKET_ENDPOINT_URL is set, so BUCKET_ACCESS_KEY_ID and BUCKET_SECRET_ACCESS_KEY must be too",
        ),
        (
            {
                "BUCKET_ENDPOINT_URL": "https://s3.example.com",
                "BUCKET_ACCESS_KEY_ID": "k",
                "BUCKET_SECRET_ACCESS_KEY": "s",
                "WEBUI_DIR": "/proc",
            },
            "WebUI: /proc has no launch.py; delivery: BUCKET_",
        ),
    ],
)
def test_settings_that_can_lead_nowhere_end_the_start_before_anything_is_spawned(
    variables: dict[str, str], words: str
) -> None:
    with pytest.raises(BootFailed) as caught:
        refuse_the_hopeless(read_settings(variables), gpu=False)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_folder_that_pictures_cannot_be_written_to_is_told_before_they_are_made(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="OUT_DIR: nothing can be written to /proc/pictures") as caught:
        refuse_unwritable(Path("/proc/pictures"))
    assert "--out" in str(caught.value.hint)
    refuse_unwritable(tmp_path / "new" / "pictures")
    assert not (tmp_path / "new").exists()


def test_misspelt_variables_and_what_local_commands_need_are_told_too(tmp_path: Path) -> None:
    with serve(lambda _: Reply(404)) as other:
        code, found = check(tmp_path, "--quick", HTTP_PORT=str(other.port), WEBUI_DIRR="/x", OUT_DIR="/proc/pictures")
    assert code == 1
    assert {name for name, finding in found.items() if finding["state"] == "fail"} == {"HTTP_PORT", "OUT_DIR"}
    assert found["settings"]["seen"].endswith("did you mean WEBUI_DIR?")


def test_the_ports_of_the_worker_that_runs_here_are_no_failure(tmp_path: Path) -> None:
    port = str(free_port())
    with running_host(tmp_path, {"PORT_HEALTH": port}) as host:
        webui = str(host.settings.webui_port)
        code, found = check(tmp_path, "--quick", PORT_HEALTH=port, WEBUI_PORT=webui)
        assert code == 0, found
        with serve(lambda _: Reply(404)) as other:
            code, found = check(tmp_path, "--quick", PORT_HEALTH=str(other.port), WEBUI_PORT=webui)
    assert {name for name, finding in found.items() if finding["state"] == "fail"} == {"PORT_HEALTH"}
    assert code == 1


class Library(Gpus):
    """A machine with these GPUs."""

    def __init__(self, *found: Gpu) -> None:
        super().__init__()
        self._found = list(found)

    def read(self) -> list[Gpu]:
        return self._found

    def driver(self) -> Driver | None:
        return Driver("550.54", (12, 4)) if self._found else None


def test_a_gpu_that_was_promised_has_to_be_there(tmp_path: Path) -> None:
    promised = read_settings(environment(tmp_path, {"NVIDIA_VISIBLE_DEVICES": "all"}))
    assert [finding.state for finding in gpus(promised, Library())] == ["fail"]
    assert [finding.state for finding in gpus(read_settings(environment(tmp_path)), Library())] == ["warn"]
    (card,) = gpus(promised, Library(Gpu("NVIDIA L4", 24 * 2**30, 0)))
    assert (card.state, card.seen) == ("ok", "NVIDIA L4, 24 GiB, driver 550.54 for CUDA 12.4")


@pytest.mark.parametrize(
    ("told", "driver", "xformers", "states"),
    [
        ({"torch": "2.1.2", "cuda": "12.1", "gpu": True, "xformers": "0.0.23"}, (12, 4), "auto", ["ok", "ok"]),
        ({"torch": "2.7.0", "cuda": "12.8", "gpu": True}, (12, 4), "auto", ["warn", "ok"]),
        ({"torch": "2.7.0", "cuda": "13.0", "gpu": True}, (12, 4), "auto", ["fail", "ok"]),
        ({"torch": "2.1.2", "cuda": "12.1", "gpu": False}, (12, 4), "on", ["fail", "fail"]),
        ({"torch": "2.1.2", "cuda": None, "gpu": False}, None, "off", ["ok", "ok"]),
        ({}, (12, 4), "auto", ["fail"]),
    ],
)
def test_torch_is_judged_against_the_driver(
    told: dict[str, Any], driver: tuple[int, int] | None, xformers: str, states: list[str]
) -> None:
    assert [finding.state for finding in webui.judge(told, driver, xformers=xformers)] == states


@pytest.mark.parametrize(("status", "state"), [(200, "ok"), (401, "fail"), (503, "warn")])
def test_a_token_is_shown_to_whom_it_belongs(status: int, state: str) -> None:
    with serve(lambda _: Reply(status)) as place:
        finding = outside.token_is_taken("CivitAI", place.url, "secret-token")
        assert place.seen[0].headers["authorization"] == "Bearer secret-token"
    assert finding.state == state
    assert "secret-token" not in finding.seen


def test_a_token_that_can_not_be_checked_is_no_failure() -> None:
    assert outside.token_is_taken("CivitAI", f"http://127.0.0.1:{free_port()}", "x").state == "warn"


def test_a_slow_or_missing_volume_is_noticed(tmp_path: Path) -> None:
    assert volume.speed(tmp_path / "gone").state == "fail"
    (tmp_path / "file").write_bytes(b"x" * 5_000_000)
    assert volume.speed(tmp_path / "file").state == "ok"


def test_the_store_is_tried_with_a_round_trip(tmp_path: Path) -> None:
    with running_store() as store:
        store.make_bucket("pictures")
        bucket = {"BUCKET_ENDPOINT_URL": store.url, "BUCKET_NAME": "pictures", "BUCKET_ACCESS_KEY_ID": ACCESS_KEY}
        right = read_settings(environment(tmp_path, {**bucket, "BUCKET_SECRET_ACCESS_KEY": SECRET_KEY}))
        found = {finding.what: finding for finding in outside.outside(right)}
        assert found["delivery"].state == "ok", found["delivery"].seen
        assert store.keys("pictures") == []
        wrong = read_settings(environment(tmp_path, {**bucket, "BUCKET_SECRET_ACCESS_KEY": "wrong"}))
        found = {finding.what: finding for finding in outside.outside(wrong)}
    assert found["delivery"].state == "fail"
    assert found["delivery"].fix
