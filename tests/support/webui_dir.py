"""A folder that looks like an A1111 checkout and starts the stand-in: for tests of what the worker starts itself."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support import models
from tests.support.ports import free_port
from worker.app import Worker
from worker.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = f"""import runpy, sys
sys.path.insert(0, {str(ROOT)!r})
sys.argv[0] = "standin"
runpy.run_module("standin", run_name="__main__")
"""


def write_webui(folder: Path) -> Path:
    """Write the checkout into `folder` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    launch = folder / "launch.py"
    if not launch.exists():  # another worker may be starting from it right now
        launch.write_text(LAUNCH, encoding="utf-8")
    return folder


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the worker's environment for such a checkout with small models, all below `folder`."""
    root = folder / "models"
    if not root.exists():
        models.model_folders(root)
    return {
        "PATH": "/usr/bin:/bin",
        "WEBUI_DIR": str(write_webui(folder / "webui")),
        "WEBUI_PYTHON": sys.executable,
        "WEBUI_PORT": str(free_port()),
        "MODELS_DIR": str(root),
        "DEFAULT_CHECKPOINT": "Deliberate_v6",
        "BOOT_TIMEOUT_S": "60",
        "STANDIN_STEP_SECONDS": "0",
        "STANDIN_LOAD_SECONDS": "0",
        "OUT_DIR": str(folder / "out"),
        **(more or {}),
    }


@contextmanager
def running_host(folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Worker]:
    """A worker that has started its WebUI and is ready for jobs."""
    variables = environment(folder, more)
    host = Worker(read_settings(variables), variables)
    try:
        host.spawn()
        host.wait_ready()
        yield host
    finally:
        host.close()
