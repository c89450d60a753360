"""The locks against the package index: still resolvable for the image's platform, still what their inputs give."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "docker").glob("*.lock"))

pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(600)]


def test_locking_anew_changes_nothing(tmp_path: Path) -> None:
    uv = Path(sys.executable).parent / "uv"
    if not uv.exists() and shutil.which("uv") is None:
        pytest.skip("uv is not installed")
    for lock in LOCKS:
        shutil.copy(lock, tmp_path)
    done = subprocess.run(
        [str(ROOT / "docker/lock.sh")],
        check=False,
        env={**os.environ, "OUT": str(tmp_path), "PATH": f"{uv.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(LOCKS) == 7
    for lock in LOCKS:
        assert (tmp_path / lock.name).read_text(encoding="utf-8") == lock.read_text(encoding="utf-8"), lock.name
