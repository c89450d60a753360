"""The command line run inside the test's own process: for what it says and how it ends, without Python's start."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from typer.testing import CliRunner, Result

from worker.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def invoke(*arguments: str, cwd: Path, stdin: str = "", **variables: str) -> Result:
    """Run ``worker`` with arguments in a folder, with no other environment than these variables."""
    known = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), **variables}
    environment = {**dict.fromkeys(os.environ), **known}
    with _folder(cwd), _logging_as_before():
        return CliRunner().invoke(app, list(arguments), input=stdin, env=environment, prog_name="worker")


@contextmanager
def _folder(path: Path) -> Iterator[None]:
    before = os.getcwd()  # noqa: PTH109 - what chdir takes back
    os.chdir(path)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def _logging_as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("worker")
    handlers, levels = list(root.handlers), (root.level, own.level)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(levels[0])
        own.setLevel(levels[1])
