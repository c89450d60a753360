"""The image's worker half, built and run for real, with the stand-in where the image keeps A1111."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import requests
from urllib3.util import Retry

from tests.image import engine
from tests.image.engine import Container, docker
from tests.support.jobsource import JobSource
from tests.support.models import model_folders
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def _image() -> None:
    engine.build()


@pytest.fixture
def source() -> Iterator[JobSource]:
    with JobSource() as source:
        yield source


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A network volume with models, owned by root as RunPod mounts it."""
    folder = tmp_path / "volume"
    model_folders(folder / "models")
    return folder


@pytest.fixture
def webui(tmp_path: Path) -> Path:
    return engine.webui(tmp_path / "webui")


def variables(source: JobSource, **more: str) -> dict[str, str]:
    return {
        **source.worker_env(),
        "WEBUI_PYTHON": engine.PYTHON,
        "WEBUI_PORT": str(free_port()),
        "DEFAULT_CHECKPOINT": "Deliberate_v6",
        "BOOT_TIMEOUT_S": "60",
        "STANDIN_STEP_SECONDS": "0",
        "STANDIN_LOAD_SECONDS": "0",
        **more,
    }


def mounts(volume: Path, webui: Path) -> list[str]:
    return [f"--volume={volume}:/runpod-volume", f"--volume={webui}:/opt/webui:ro"]


def started(source: JobSource, volume: Path, webui: Path, *options: str, **more: str) -> Container:
    return Container(*mounts(volume, webui), *options, environment=variables(source, **more))


def worker_user(container: Container) -> int:
    return next(user for words, (_, user) in container.processes().items() if words.startswith(f"{engine.PYTHON} -u h"))


def test_a_job_comes_back_as_a_picture(source: JobSource, volume: Path, webui: Path) -> None:
    job = source.offer(prompt="a lighthouse", steps=2, width=64, height=64, seed=7)
    with started(source, volume, webui):
        output = source.wait_result(job, timeout=90).output
    assert output["images"][0]
    assert output["seeds"] == [7]
    assert output["applied"]["checkpoint"] == "Deliberate_v6"


def test_stopping_finishes_and_delivers_the_job_at_hand(source: JobSource, volume: Path, webui: Path) -> None:
    job = source.offer(prompt="a lighthouse", steps=20, width=64, height=64)
    with started(source, volume, webui, STANDIN_STEP_SECONDS="0.2") as container:
        source.wait_event("taken", job, timeout=90)
        assert container.stop() == 0
        assert source.wait_result(job, timeout=1).output["images"]


def test_stopping_while_the_webui_still_boots_ends_at_once(source: JobSource, volume: Path, webui: Path) -> None:
    with started(source, volume, webui, STANDIN_LOAD_SECONDS="50") as container:
        while not any("launch.py" in words for words in container.processes()):
            pass
        assert container.stop(grace=20) != 137


def kill_the_webui(container: Container) -> None:
    pid = next(pid for words, (pid, _) in container.processes().items() if "launch.py" in words)
    container.run("sh", "-c", f"kill -9 {pid}")


def test_a_webui_that_dies_comes_back_for_the_next_job(source: JobSource, volume: Path, webui: Path) -> None:
    first = source.offer(prompt="a lighthouse", steps=2, width=64, height=64)
    with started(source, volume, webui) as container:
        source.wait_result(first, timeout=90)
        kill_the_webui(container)
        second = source.offer(prompt="a lighthouse", steps=2, width=64, height=64)
        assert source.wait_result(second, timeout=90).output["images"]


def test_when_the_webui_stays_dead_the_container_ends_with_a_failure(
    source: JobSource, volume: Path, webui: Path
) -> None:
    job = source.offer(prompt="a lighthouse", steps=2, width=64, height=64)
    with started(source, volume, webui, RESTARTS="0") as container:
        source.wait_result(job, timeout=90)
        kill_the_webui(container)
        assert container.wait(timeout=60) not in {0, 137}


def test_a_webui_that_does_not_start_ends_the_container_and_its_last_lines_are_shown(
    source: JobSource, volume: Path, webui: Path
) -> None:
    (webui / "launch.py").write_text("raise SystemExit('no CUDA here')\n", encoding="utf-8")
    with started(source, volume, webui) as container:
        assert container.wait(timeout=60) == 1
        assert "no CUDA here" in container.log


def test_without_a_webui_it_refuses_production(source: JobSource, volume: Path) -> None:
    with Container(f"--volume={volume}:/runpod-volume", environment=variables(source)) as container:
        assert container.wait() == 1
        assert "there is no WebUI here" in container.log


def test_it_works_with_nothing_but_what_it_needs(source: JobSource, volume: Path, webui: Path) -> None:
    job = source.offer(prompt="a lighthouse", steps=2, width=64, height=64)
    hard = ["--read-only", "--tmpfs=/tmp", "--user=10001:10001", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    with started(source, volume, webui, *hard, "--memory=1g", "--pids-limit=200") as container:
        assert source.wait_result(job, timeout=90).output["images"]
        assert {user for _, user in container.processes().values()} == {engine.USER}


def test_it_serves_plain_http_as_well(source: JobSource, volume: Path, webui: Path) -> None:
    port = free_port()
    more = {"WEBUI_PYTHON": engine.PYTHON, "WEBUI_PORT": str(free_port()), "DEFAULT_CHECKPOINT": "Deliberate_v6"}
    options, more = mounts(volume, webui), {**more, "HTTP_PORT": str(port), "STANDIN_LOAD_SECONDS": "0"}
    with Container(*options, environment=more, command=["/app/start.sh", "serve"]) as container:
        patient = requests.adapters.HTTPAdapter(
            max_retries=Retry(total=20, connect=20, backoff_factor=0.2, backoff_max=2, status_forcelist=(503,))
        )
        session = requests.Session()
        session.mount("http://", patient)
        assert session.get(f"http://127.0.0.1:{port}/ready", timeout=30).status_code == 200
        job = {"input": {"prompt": "a lighthouse", "steps": 2, "width": 64, "height": 64, "seed": 7}}
        assert session.post(f"http://127.0.0.1:{port}/runsync", json=job, timeout=60).json()["output"]["seeds"] == [7]
        assert container.stop() == 0


def test_one_process_tree_under_an_init(source: JobSource, volume: Path, webui: Path) -> None:
    job = source.offer(prompt="a lighthouse", steps=2, width=64, height=64)
    with started(source, volume, webui) as container:
        source.wait_result(job, timeout=90)
        first = [words for words, (pid, _) in container.processes().items() if pid == 1]
        assert first == ["tini -- /app/start.sh"]
        assert not [words for words in container.processes() if "start.sh" in words and not words.startswith("tini")]


def test_tcmalloc_is_in_use(source: JobSource, volume: Path, webui: Path) -> None:
    job = source.offer(prompt="a lighthouse", steps=2, width=64, height=64)
    with started(source, volume, webui, RUN_AS="root") as container:
        source.wait_result(job, timeout=90)
        for words, (pid, _) in container.processes().items():
            if "handler.py" in words or "launch.py" in words:
                assert "libtcmalloc_minimal" in container.run("cat", f"/proc/{pid}/maps"), words


def test_root_is_left_when_the_volume_allows_it(source: JobSource, volume: Path, webui: Path) -> None:
    for folder in (volume / "models", *(volume / "models").rglob("*")):
        os.chown(folder, engine.USER, engine.USER)
    job = source.offer(prompt="a lighthouse", steps=2, width=64, height=64)
    with started(source, volume, webui) as container:
        source.wait_result(job, timeout=90)
        assert worker_user(container) == engine.USER
        assert "stays root" not in container.log


def test_root_is_kept_and_said_when_only_root_can_write_the_volume(
    source: JobSource, volume: Path, webui: Path
) -> None:
    job = source.offer(prompt="a lighthouse", steps=2, width=64, height=64)
    with started(source, volume, webui) as container:
        source.wait_result(job, timeout=90)
        assert worker_user(container) == 0
        assert "stays root, because the user worker (10001) cannot write /runpod-volume/models" in container.log


def test_root_is_left_without_a_volume(source: JobSource, volume: Path, webui: Path) -> None:
    models = [f"--volume={volume / 'models'}:/models:ro", f"--volume={webui}:/opt/webui:ro"]
    job = source.offer(prompt="a lighthouse", steps=2, width=64, height=64)
    with Container(*models, environment=variables(source, MODELS_DIR="/models")) as container:
        source.wait_result(job, timeout=90)
        assert worker_user(container) == engine.USER


def test_no_secret_and_no_test_is_inside() -> None:
    listed = docker("run", "--rm", "--entrypoint=sh", engine.TAG, "-c", "ls -A /app /app/* | sort | uniq")
    assert not {".git", "tests", "tools", "standin", ".env", "docker"} & set(listed.split())
    assert "TOKEN" not in docker("image", "inspect", "--format={{json .Config.Env}}", engine.TAG)


def test_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    size = int(docker("image", "inspect", "--format={{.Size}}", engine.TAG))
    layers = docker("history", "--no-trunc=false", "--format={{.Size}}\t{{.CreatedBy}}", engine.TAG).splitlines()
    with capsys.disabled():
        print(f"\n{engine.TAG}: {size / 1e6:.0f} MB")  # noqa: T201 - figures for a person
        print("\n".join(line[:110] for line in layers if not line.startswith("0B")))  # noqa: T201 - as above
    own = docker("run", "--rm", "--entrypoint=du", engine.TAG, "-sm", "/opt/worker-env", "/app").split()
    assert int(own[0]) + int(own[2]) < 400
