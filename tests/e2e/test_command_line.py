"""``python -m worker``: what people run, as they run it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.support.documents.command_line import invoke
from tests.support.models import model_folders
from tests.support.webui_dir import environment, running_host
from worker import __version__
from worker.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
JOB = {"input": {"prompt": "a lighthouse", "steps": 2, "width": 64, "height": 64, "seed": 3}}


def worker(*arguments: str, cwd: Path, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        cwd=cwd,
        input=stdin,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(cwd), **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_job_from_a_file_leaves_its_picture_and_prints_its_answer_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps(JOB), encoding="utf-8")
    done = worker("run", "job.json", "--out", "pictures", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["worker"]["backend"] == "stand-in"
    assert answer["seeds"] == [3]
    with Image.open(tmp_path / answer["images"][0]) as picture:
        assert picture.size == (64, 64)
    assert (tmp_path / "pictures" / "answer.json").is_file()
    assert "Drawn by the stand-in" in done.stderr


@pytest.mark.slow
def test_the_bare_input_from_standard_input_is_a_job_too(tmp_path: Path) -> None:
    done = worker("run", "-", cwd=tmp_path, stdin=json.dumps(JOB["input"]), LOG_FORMAT="json", LOG_LEVEL="info")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    (last,) = (line for line in lines if line["event"] == "job done")
    assert (last["kind"], last["images"]) == ("txt2img", 1)
    assert last["bytes"] == (tmp_path / "out/001.png").stat().st_size
    assert {"generate_ms", "deliver_ms", "total_ms"} <= set(last)
    assert json.loads(done.stdout)["images"] == ["out/001.png"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (json.dumps({"input": {"prompt": "x", "num_inference_steps": 3}}), "steps"),
        ("{not json", "not JSON"),
        ("[1]", "leave the outer [ ] away"),
    ],
)
def test_a_job_that_fails_prints_the_error_answer_and_exits_1(tmp_path: Path, text: str, words: str) -> None:
    done = worker("run", "-", cwd=tmp_path, stdin=text)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["error_code"] == "invalid_input"
    assert words in answer["error"]


def test_wrong_usage_exits_2(tmp_path: Path) -> None:
    assert worker(cwd=tmp_path).returncode == 2
    assert invoke("rnu", cwd=tmp_path).exit_code == 2
    missing = invoke("run", "nowhere.json", cwd=tmp_path)
    assert missing.exit_code == 2
    assert "nowhere.json" in missing.stderr


def test_a_mistyped_command_is_told_with_what_was_meant(tmp_path: Path) -> None:
    assert "Did you mean 'run'?" in invoke("rnu", cwd=tmp_path).stderr


def test_the_version_is_told(tmp_path: Path) -> None:
    assert worker("--version", cwd=tmp_path).stdout == f"worker {__version__}\n"


def test_paragraphs_of_help_fill_the_terminal(tmp_path: Path) -> None:
    for command in (["batch"], ["faces", "enrol"], []):
        told = invoke(*command, "--help", cwd=tmp_path, COLUMNS="400").stdout
        said = [line.strip() for line in told.splitlines() if line.startswith(" ") and line.strip()]
        assert said[2].endswith("."), said  # the whole paragraph below usage and headline


def test_help_names_every_command_and_each_has_its_own(tmp_path: Path) -> None:
    told = worker("--help", cwd=tmp_path).stdout
    for command in COMMANDS:
        assert f" {command} " in told
        own = invoke(command, "--help", cwd=tmp_path)
        assert (own.exit_code, f"Usage: worker {command}" in own.stdout) == (0, True), own.stderr


@pytest.mark.parametrize(
    "command", ["schema", "schema --openapi", "check --quick --json", "plan --rate 1/s --gen 1 --jobs 50"]
)
def test_a_reader_that_goes_early_is_no_failure(tmp_path: Path, command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "worker", *command.split()],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_of_the_models_that_goes_early_is_no_failure(tmp_path: Path) -> None:
    model_folders(tmp_path / "models")
    command = f"{sys.executable} -m worker models list --dir {tmp_path / 'models'} | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_a_shell_can_complete_the_commands(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from worker.__main__ import start; start()"],
        cwd=tmp_path,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(ROOT),
            "HOME": str(tmp_path),
            "_WORKER_COMPLETE": "complete_bash",
            "COMP_WORDS": "worker s",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert set(done.stdout.split()) == {name for name in COMMANDS if name.startswith("s")}, done.stderr


@pytest.mark.slow
def test_the_installed_command_is_the_same(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("worker", "standin"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(tmp_path / "site"), str(source)], check=True, timeout=100)
    told = subprocess.run(
        [str(tmp_path / "site/bin/worker"), "run", "--help"],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "site"), "HOME": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    assert "Usage: worker run" in told
    assert (tmp_path / "site/standin/data/options.json").is_file()
    assert (tmp_path / "site/worker/contract/operator/data/presets.yaml").is_file()
    assert not (tmp_path / "site/tools").exists()


def test_a_bad_setting_ends_with_its_name_and_value(tmp_path: Path) -> None:
    done = worker("run", "-", cwd=tmp_path, stdin=json.dumps(JOB), WEBUI_PORT="abc")
    assert done.returncode == 1
    assert "WEBUI_PORT='abc'" in json.loads(done.stdout)["error"]


def test_a_webui_that_runs_already_is_used_and_left_running(tmp_path: Path) -> None:
    with running_host(tmp_path / "other") as other:
        done = worker("run", "-", cwd=tmp_path, stdin=json.dumps(JOB), WEBUI_URL=other.backend.plan.url)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert (answer["worker"]["backend"], answer["applied"]["checkpoint"]) == ("a1111", "Deliberate_v6")
        assert other.backend.client.get("/sdapi/v1/sd-models")


@pytest.mark.slow
def test_a_webui_folder_is_started_and_ended(tmp_path: Path) -> None:
    variables = environment(tmp_path)
    done = worker("run", "-", cwd=tmp_path, stdin=json.dumps(JOB), **variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["worker"]["backend"] == "a1111"


def test_the_doctor_names_what_is_missing_and_what_to_do(tmp_path: Path) -> None:
    done = worker("check", "--json", cwd=tmp_path, WEBUI_DIR=str(tmp_path / "nowhere"))
    assert done.returncode == 1
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    failed = [finding for finding in findings if finding["state"] == "fail"]
    assert [finding["what"] for finding in failed] == ["WebUI"]
    assert failed[0]["fix"]
    well = worker("check", "--json", cwd=tmp_path, **environment(tmp_path))
    failed = [finding for finding in json.loads(well.stdout) if finding["state"] == "fail"]
    assert [finding["what"] for finding in failed] == ["torch"]  # the stand-in needs none, and this checkout has none


def test_the_schema_is_json_schema_of_jobs_and_answers(tmp_path: Path) -> None:
    document = json.loads(worker("schema", cwd=tmp_path).stdout)
    assert document["$schema"].startswith("https://json-schema.org/")
    assert {"JobAnswer", "ErrorAnswer"} <= set(document["$defs"])
