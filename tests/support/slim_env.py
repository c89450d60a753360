"""The worker's Python environment as the image has it: what its lock names, less what `docker/slim.py` takes out."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "worker.lock"


def locked() -> set[str]:
    """Return the names of the packages in the worker's lock."""
    text = LOCK.read_text(encoding="utf-8")
    return {_normal(name) for name in re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)}


def whole_environment(folder: Path) -> Path:
    """Link the installed files of every locked package into `folder` and return it."""
    names = locked()
    for package in importlib.metadata.distributions():
        if _normal(package.metadata["Name"]) in names:
            for file in package.files or ():
                if ".." not in file.parts:
                    _link(Path(str(package.locate_file(file))), folder / file)
    return folder


def image_environment(folder: Path) -> Path:
    """Make the environment in `folder` and return it; run ``python -S`` with it as PYTHONPATH."""
    whole_environment(folder)
    program = [sys.executable, "-S", str(ROOT / "docker" / "slim.py"), str(folder)]
    subprocess.run(program, check=True, capture_output=True, timeout=60)
    return folder


def _link(source: Path, target: Path) -> None:
    if not source.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
