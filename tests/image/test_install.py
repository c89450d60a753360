"""The WebUI's environment, installed for real in the image's order from the locks: gigabytes, minutes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LAYERS = ("torch", "webui", "extensions")
PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)
IMPORTS = """
import cv2, fastapi, gradio, mediapipe, numpy, open_clip, pytorch_lightning, safetensors, torch, transformers, xformers
print(torch.__version__, torch.version.cuda, (torch.ones(2) + 1).sum().item())
"""

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(1500)]


@pytest.fixture
def uv(tmp_path: Path) -> Iterator[str]:
    there = Path(sys.executable).parent / "uv"
    found = str(there) if there.exists() else shutil.which("uv")
    if found is None:
        pytest.skip("uv is not installed")  # it finds the other Python and makes its environment
    if subprocess.run([found, "python", "find", "--no-python-downloads", "3.10"], check=False).returncode:
        pytest.skip("there is no Python 3.10, the image's, on this machine")  # the image's own build installs there
    yield found
    shutil.rmtree(tmp_path, ignore_errors=True)  # pytest would keep the gigabytes of the last three runs


def pins(text: str) -> dict[str, str]:
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in PIN.findall(text)}


@pytest.mark.parametrize("variant", ["cu121"])
def test_what_is_locked_installs_and_imports(uv: str, tmp_path: Path, variant: str) -> None:
    environment = {
        **os.environ,
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "VIRTUAL_ENV": str(tmp_path / "env"),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
    }

    def run(*command: str) -> str:
        done = subprocess.run(command, check=False, text=True, capture_output=True, env=environment)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    run(uv, "venv", "--quiet", "--python", "3.10", str(tmp_path / "env"))
    wanted: dict[str, str] = {}
    for layer in LAYERS:
        lock = ROOT / "docker" / f"{layer}-{variant}.lock"
        wanted |= pins(lock.read_text(encoding="utf-8"))
        install = [uv, "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--require-hashes"]
        run(*install, "--requirement", str(lock))
    assert pins(run(uv, "pip", "freeze")) == wanted
    assert run(str(tmp_path / "env" / "bin" / "python"), "-c", IMPORTS).split()[-1] == "4.0"
