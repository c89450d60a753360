"""start.sh, run for real with a small worker in the place of ours."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HANDLER = """
import json, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
preload = os.environ.get("LD_PRELOAD")
print(json.dumps({"pid": os.getpid(), "argv": sys.argv, "folder": os.getcwd(), "preload": preload}))
sys.stdin.read()
"""


@pytest.fixture
def app(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "start.sh", tmp_path)
    (tmp_path / "handler.py").write_text(HANDLER, encoding="utf-8")
    return tmp_path


def start(app: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(app / "start.sh"), *arguments],
        env={**os.environ, "WORKER_PYTHON": sys.executable, "RUN_AS": "root", **environment},
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process: subprocess.Popen[str]) -> dict[str, object]:
    assert process.stdout is not None
    answer: dict[str, object] = json.loads(process.stdout.readline())
    return answer


def test_the_worker_takes_over_the_process_and_gets_the_arguments(app: Path) -> None:
    with start(app, "--rp_serve_api") as process:
        words = said(process)
        process.communicate("")
    assert words["pid"] == process.pid
    assert words["argv"] == ["handler.py", "--rp_serve_api"]
    assert words["folder"] == str(app)
    assert process.returncode == 0


def test_serve_is_the_worker_behind_plain_http(app: Path) -> None:
    (app / "worker").mkdir()
    (app / "worker" / "__init__.py").touch()
    (app / "worker" / "__main__.py").write_text(HANDLER, encoding="utf-8")
    with start(app, "serve", "--port", "8001") as process:
        words = said(process)
        process.communicate("")
    assert words["pid"] == process.pid
    assert words["argv"] == [str(app / "worker" / "__main__.py"), "serve", "--port", "8001"]


def test_a_signal_reaches_the_worker(app: Path) -> None:
    with start(app) as process:
        said(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 7


def test_a_preloaded_allocator_is_kept(app: Path) -> None:
    library = "libm.so.6"
    with start(app, LD_PRELOAD=library) as process:
        words = said(process)
        process.communicate("")
    assert words["preload"] == library


def test_without_the_image_s_environment_it_takes_the_python_of_the_path(app: Path) -> None:
    with start(app, WORKER_PYTHON="/nowhere/python") as process:
        words = said(process)
        process.communicate("")
    assert words["pid"] == process.pid


UNPRIVILEGED = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
BALANCED = {"RUNPOD_ENDPOINT_ID": "abc123"}


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        (BALANCED, UNPRIVILEGED > 80),
        ({**BALANCED, "PORT": "8080"}, False),
        ({**BALANCED, "RUNPOD_WEBHOOK_GET_JOB": "http://jobs?"}, False),
        ({}, False),
    ],
)
def test_the_unprivileged_user_may_listen_on_a_load_balancers_port(
    app: Path, variables: dict[str, str], kept: object
) -> None:
    tools = app / "tools"
    tools.mkdir()
    for name, text in {"id": "echo 0", "setpriv": 'printf "%s " "$@"'}.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n", encoding="ascii")
        (tools / name).chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    with start(app, RUN_AS="worker", PATH=path, **variables) as process:
        words = process.communicate("")[0].split()
    assert "--reuid=worker" in words
    assert ("--ambient-caps=-all,+net_bind_service" in words) is kept
