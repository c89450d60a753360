"""The worker's Python environment as the image has it: the packages of `requirements/worker.lock` and no others."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
from importlib.util import cache_from_source
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LOCK = ROOT / "requirements" / "worker.lock"


def locked_names() -> set[str]:
    """Return the normalised names of the packages in the worker's lock."""
    text = LOCK.read_text(encoding="utf-8")
    return {normalise(name) for name in re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)}


def locked_distributions() -> list[importlib.metadata.Distribution]:
    """Return the installed packages that the worker's lock names."""
    names = locked_names()
    return [one for one in importlib.metadata.distributions() if normalise(one.metadata["Name"]) in names]


def make_environment(folder: Path) -> Path:
    """Link the installed files of every locked package into `folder` and return it.

    ``python -S`` with the folder as PYTHONPATH then sees these packages and the standard library alone.
    """
    for package in locked_distributions():
        for file in package.files or ():
            if ".." not in file.parts:
                source = Path(str(package.locate_file(file)))
                _link(source, folder / file)
                if file.suffix == ".py":  # what pip does not list, and every process would compile again
                    compiled = Path(cache_from_source(source))
                    _link(compiled, (folder / file).parent / compiled.parent.name / compiled.name)
    return folder


def normalise(name: str) -> str:
    """Return a package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _link(source: Path, target: Path) -> None:
    if not source.is_file():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)
