"""`worker gallery` and `/gallery` of `worker serve`, each as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import requests
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

from tests.support.documents.command_line import invoke
from tests.support.gallery import fill, png
from tests.support.ports import free_port
from worker.gallery.web.access import TOKEN_HEADER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def running(tmp_path: Path, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", *arguments],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_the_command_tells_its_address_and_ends_at_ctrl_c(tmp_path: Path) -> None:
    fill(tmp_path / "pics", 3)
    with running(tmp_path, "gallery", str(tmp_path / "pics"), "--port", "0") as process:
        line = first_line(process)
        url = re.search(r"http://127\.0\.0\.1:\d+/gallery/", line)
        assert url is not None, line
        assert line.startswith("3 pictures at ")
        assert len(requests.get(f"{url[0]}api/pictures", timeout=10).json()["pictures"]) == 3
        assert requests.get(url[0].removesuffix("/"), timeout=10).url == url[0]
    assert process.returncode == 0


def test_on_an_address_that_others_reach_a_key_is_made_up(tmp_path: Path) -> None:
    fill(tmp_path / "pics", 1)
    with running(tmp_path, "gallery", str(tmp_path / "pics"), "--port", "0", "--host", "0.0.0.0") as process:
        found = re.search(r"http://(?!0\.0\.0\.0)[^/]+:(\d+)/gallery/#key=(\S+)", first_line(process))
        assert found is not None  # with an address that a phone can open
        url = f"http://127.0.0.1:{found[1]}/gallery/api/pictures"
        assert requests.get(url, timeout=10).status_code == 401
        assert requests.get(url, headers={"Authorization": f"Bearer {found[2]}"}, timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["gallery", "nowhere"], 1, "nowhere can't be read"),
        (["gallery", "s3://"], 1, "names no bucket"),
        (["gallery", "s3://["], 1, "is not a valid address"),
        (["gallery", "http://127.0.0.1/pics"], 1, "neither a folder nor s3://"),
        (["gallery", ".", "--endpoint", "ftp://x"], 2, "--endpoint"),
        (["gallery"], 2, "DIR"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, arguments: list[str], code: int, said: str) -> None:
    done = invoke(*arguments, cwd=tmp_path, COLUMNS="300")
    assert done.exit_code == code
    assert said in done.stderr


def make_again(gallery: str, key: dict[str, str]) -> dict[str, Any]:
    """Have the only picture of a gallery made again with the next seed; return how it went."""
    session = requests.get(f"{gallery}api/session", headers=key, timeout=10).json()
    assert session["may_run"] is True
    (told,) = requests.get(f"{gallery}api/pictures", headers=key, timeout=10).json()["pictures"]
    body = {"picture": told["id"], "count": 1}
    headers = {**key, TOKEN_HEADER: session["token"]}
    answer = requests.post(f"{gallery}api/again", json=body, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    over = Retrying(
        retry=retry_if_result(lambda tasks: tasks[0]["status"] in {"queued", "running"}),
        wait=wait_fixed(0.2),
        stop=stop_after_delay(60),
    )
    (task,) = over(lambda: requests.get(f"{gallery}api/pictures", headers=key, timeout=10).json()["tasks"])
    return dict(task)


def picture_with_notes(folder: Path) -> None:
    folder.mkdir()
    notes = "a lighthouse\nSteps: 2, Sampler: Euler, Seed: 7, Size: 64x64"
    (folder / "001-7.png").write_bytes(png(1, notes))


def test_serve_shows_a_gallery_whose_jobs_it_runs_itself(tmp_path: Path) -> None:
    picture_with_notes(tmp_path / "pics")
    port = free_port()
    given = {"GALLERY": str(tmp_path / "pics"), "HTTP_API_KEY": "sesame", "RESULTS_DIR": str(tmp_path / "results")}
    with running(tmp_path, "serve", "--port", str(port), **given):
        url, key = f"http://127.0.0.1:{port}", {"Authorization": "Bearer sesame"}
        patiently = Retrying(
            retry=retry_if_exception_type(requests.ConnectionError) | retry_if_result(lambda answer: not answer.ok),
            wait=wait_fixed(0.2),
            stop=stop_after_delay(60),
        )
        patiently(requests.get, f"{url}/ready", timeout=10)
        assert requests.get(f"{url}/gallery/api/pictures", timeout=10).status_code == 401
        task = make_again(f"{url}/gallery/", key)
        assert (task["status"], task["made"]) == ("made", ["001-8.png"]), task["message"]


def test_the_command_runs_jobs_on_a_worker_of_its_own(tmp_path: Path) -> None:
    picture_with_notes(tmp_path / "pics")
    with running(tmp_path, "gallery", str(tmp_path / "pics"), "--endpoint", "local", "--port", "0") as process:
        line = first_line(process)
        assert line.startswith("1 picture at ")
        task = make_again(line.split()[-1], {})
        assert (task["status"], task["made"]) == ("made", ["001-8.png"]), task["message"]
    assert process.returncode == 0
