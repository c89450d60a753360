"""A newcomer's first minute: a fresh clone, the oldest pip that a supported Python brings along, `make run`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OLDEST_PIP = "23.0.1"
"""Python 3.10's and Debian 12's; it resolves what a lock names with an extra without the lock's own pins."""

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(900)]


def run(*command: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**environment, "PYTHON": sys.executable},
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.parametrize("variables", [(), ("UV=no-uv-here",)], ids=["uv", "pip alone"])
def test_a_fresh_clone_makes_a_picture_with_the_oldest_pip(tmp_path: Path, variables: tuple[str, ...]) -> None:
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", "--depth=1", ROOT.as_uri(), str(clone), cwd=tmp_path)
    run(sys.executable, "-m", "venv", ".venv", cwd=clone)
    run(".venv/bin/python", "-m", "pip", "install", "--quiet", f"pip=={OLDEST_PIP}", cwd=clone)
    run("make", "run", *variables, cwd=clone)
    assert f"pip {OLDEST_PIP} " in run(".venv/bin/python", "-m", "pip", "--version", cwd=clone)
    assert list((clone / "out").glob("*.png"))
