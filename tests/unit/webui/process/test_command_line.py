from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from worker.settings import read_settings
from worker.webui.process.command_line import Launch, command_line
from worker.webui.process.environment import use_xformers

LAUNCH = Launch(
    program=("python", "launch.py"),
    port=3000,
    checkpoint_dir=Path("/m/checkpoints"),
    lora_dir=Path("/m/loras"),
    embedding_dir=Path("/m/embeddings"),
    vae_dir=Path("/m/vae"),
    settings_file=Path("/tmp/config.json"),
    checkpoint=Path("/m/checkpoints/Deliberate_v6.safetensors"),
    xformers=True,
)


def test_the_default_command_line_is_the_missions() -> None:
    line = command_line(LAUNCH)
    assert {
        "--xformers",
        "--no-half-vae",
        "--skip-python-version-check",
        "--skip-torch-cuda-test",
        "--skip-install",
        "--skip-version-check",
        "--opt-sdp-attention",
        "--api",
        "--nowebui",
        "--no-hashing",
        "--no-download-sd-model",
    } <= set(line)
    pairs = dict(itertools.pairwise(line))
    assert pairs["--ckpt-dir"] == "/m/checkpoints"
    assert pairs["--lora-dir"] == "/m/loras"
    assert pairs["--embeddings-dir"] == "/m/embeddings"
    assert pairs["--ckpt"] == "/m/checkpoints/Deliberate_v6.safetensors"
    assert pairs["--port"] == "3000"


def test_the_webui_listens_on_loopback_only() -> None:
    line = command_line(LAUNCH)
    assert line[line.index("--server-name") + 1] == "127.0.0.1"


def test_upscalers_are_found_under_their_files_names_and_under_those_that_the_webui_has_for_them() -> None:
    assert not [flag for flag in command_line(LAUNCH) if "esrgan" in flag]
    pairs = dict(itertools.pairwise(command_line(replace(LAUNCH, upscaler_dir=Path("/m/upscalers")))))
    assert pairs["--esrgan-models-path"] == pairs["--realesrgan-models-path"] == "/m/upscalers"


def test_preprocessors_weights_are_looked_for_in_a_folder_that_is_there() -> None:
    assert not [flag for flag in command_line(LAUNCH) if "annotator" in flag]
    pairs = dict(itertools.pairwise(command_line(replace(LAUNCH, annotator_dir=Path("/m/annotators")))))
    assert pairs["--controlnet-annotator-models-path"] == "/m/annotators"


def test_a_model_file_can_run_no_code_unless_the_operator_says_so() -> None:
    assert "--disable-safe-unpickle" not in command_line(LAUNCH)
    assert "--disable-safe-unpickle" in command_line(replace(LAUNCH, disable_safe_unpickle=True))


def test_xformers_is_passed_only_where_it_can_be_imported() -> None:
    assert "--xformers" not in command_line(replace(LAUNCH, xformers=False))


@pytest.mark.parametrize(
    ("variables", "passed"),
    [
        ({}, True),
        ({"WEBUI_ARGS": "--use-cpu all --no-half"}, False),
        ({"WEBUI_ARGS": "--use-cpu all", "WEBUI_XFORMERS": "on"}, True),
        ({"WEBUI_XFORMERS": "off"}, False),
    ],
)
def test_xformers_is_for_gpus_alone_unless_it_is_asked_for(
    tmp_path: Path, variables: dict[str, str], *, passed: bool
) -> None:
    python_with_xformers = tmp_path / "python"
    python_with_xformers.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
    python_with_xformers.chmod(0o755)
    settings = read_settings(variables)
    assert use_xformers(settings, python_with_xformers, on_cpu=settings.on_cpu) is passed


def test_the_operators_arguments_come_last_and_may_be_quoted() -> None:
    line = command_line(replace(LAUNCH, extra="--medvram --data-dir '/a b'"))
    assert line[-3:] == ["--medvram", "--data-dir", "/a b"]
