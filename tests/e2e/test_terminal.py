"""The commands as a person sees them: on a terminal."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.documents.terminal import Terminal
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
JOB = {"input": {"prompt": "a lighthouse", "steps": 4, "width": 64, "height": 64, "seed": 3}}
HANDLER = [sys.executable, str(ROOT / "handler.py")]
WORKER = [sys.executable, "-m", "worker"]


def terminal(folder: Path, argv: Sequence[str], **variables: str) -> Terminal:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder), **variables}
    return Terminal(argv, cwd=folder, environment=environment)


WORKER_RUN = [*WORKER, "run", "test_input.json"]
EACH = pytest.mark.parametrize("argv", [HANDLER, WORKER_RUN], ids=["make run", "worker run"])
EITHER = pytest.mark.parametrize(
    "argv", [pytest.param(HANDLER, marks=pytest.mark.slow), WORKER_RUN], ids=["make run", "worker run"]
)
"""Both print alike: the fast tests look at one."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "test_input.json").write_text(json.dumps(JOB), encoding="utf-8")
    return tmp_path


@EACH
def test_a_picture_takes_three_lines_and_a_progress_bar_and_its_own_line_is_the_last(
    folder: Path, argv: Sequence[str]
) -> None:
    with terminal(folder, argv) as shown:
        assert shown.exit_code() == 0
    first, second, last = shown.lines
    assert first == "Drawn by the stand-in, not diffused: set WEBUI_DIR or WEBUI_URL to use a real WebUI."
    assert re.fullmatch(r"Answer: out/answer\.json \(Deliberate_v6, .*, seed 3, \d+\.\d s\)", second)
    assert last == "Picture: out/001.png"
    assert "starting the WebUI" in shown.everything
    assert "%" in shown.everything
    assert (folder / "out/001.png").is_file()


@EITHER
def test_mistakes_of_a_job_are_told_once_a_line_each(folder: Path, argv: Sequence[str]) -> None:
    (folder / "test_input.json").write_text('{"prompt": "a cat", "stepz": 3, "width": 500}', encoding="utf-8")
    with terminal(folder, argv) as shown:
        assert shown.exit_code() == 1
    assert shown.lines == [
        "The job failed: invalid_input, 2 mistakes",
        "  stepz: is not a field (did you mean 'steps'?)",
        "  width: must be a multiple of 8, not 500 (did you mean '496'?)",
        "Answer: out/answer.json",
    ]


@EITHER
def test_ctrl_c_is_quiet_while_the_webui_starts(folder: Path, argv: Sequence[str]) -> None:
    with terminal(folder, argv, STANDIN_LOAD_SECONDS="60") as shown:
        shown.wait_for("starting the WebUI")
        shown.press_ctrl_c()
        assert shown.exit_code() == 130
    assert [line for line in shown.lines if line not in {"^C", "Aborted."}] == []


@EITHER
def test_ctrl_c_is_quiet_while_a_picture_is_made(folder: Path, argv: Sequence[str]) -> None:
    with terminal(folder, argv, STANDIN_STEP_SECONDS="0.3", LOG_LEVEL="error") as shown:
        shown.wait_for("generate")
        shown.press_ctrl_c()
        assert shown.exit_code() == 130
    assert "Traceback" not in shown.screen
    assert len([line for line in shown.lines if line != "^C"]) <= 2, shown.screen


def test_a_start_that_cannot_succeed_is_told_in_two_lines(folder: Path) -> None:
    with terminal(folder, HANDLER, WEBUI_DIR="/nowhere") as shown:
        assert shown.exit_code() == 1
    assert "WebUI: WEBUI_DIR is /nowhere, but there is no such folder" in shown.lines[0]
    assert "the folder with launch.py in it" in shown.lines[1]
    assert len(shown.lines) == 2


def test_serve_ends_its_start_with_its_address_its_paths_and_a_command_that_works(folder: Path) -> None:
    port = str(free_port())
    with terminal(folder, [*WORKER, "serve", "--port", port], HTTP_API_KEY="sesame", GALLERY=".") as shown:
        shown.wait_for("-o answer.json")
        told = shown.lines[shown.lines.index(f"Ready at http://127.0.0.1:{port}") :]
        paths = [line.split()[0] for line in told[1:-2]]
        assert paths == ["/runsync", "/sdapi/v1", "/v1", "/gallery/", "/docs", "/health"]
        assert "sesame" not in shown.screen
        command = told[-1].removeprefix("Try it: ")
        environment = {"PATH": "/usr/bin:/bin", "HTTP_API_KEY": "sesame"}
        subprocess.run(["bash", "-c", command], cwd=folder, env=environment, check=True, timeout=60)
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        assert answer["status"] == "COMPLETED"
        assert base64.b64decode(answer["output"]["images"][0]).startswith(b"\x89PNG")
        shown.press_ctrl_c()
        assert shown.exit_code() == 0
    assert "Traceback" not in shown.screen


def test_variables_come_from_a_file_beside_the_job(folder: Path) -> None:
    (folder / ".env").write_text("OUT_DIR=pictures\nMAX_PIXEL=1\n", encoding="utf-8")
    with terminal(folder, HANDLER) as shown:
        assert shown.exit_code() == 0
    assert shown.lines[-1] == "Picture: pictures/001.png"
    assert "MAX_PIXEL is not a setting and has no effect; did you mean MAX_PIXELS?" in shown.screen


def test_a_worker_in_production_reads_no_such_file(folder: Path) -> None:
    (folder / ".env").write_text("WEBUI_URL http://127.0.0.1:9\n", encoding="utf-8")
    variables = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "RUNPOD_WEBHOOK_GET_JOB": "http://127.0.0.1:9/x"}
    done = subprocess.run(HANDLER, cwd=folder, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "the stand-in never serves production jobs" in done.stderr
    assert ".env" not in done.stderr
