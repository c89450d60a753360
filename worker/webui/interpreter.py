"""The Python that runs the WebUI, and whether xformers is among its packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import BootFailed

if TYPE_CHECKING:
    from worker.settings import Settings


def python(settings: Settings, folder: Path) -> Path:
    """Return the Python that runs the WebUI in `folder`.

    Raises:
        BootFailed: there is none.
    """
    if settings.webui_python is not None:
        given = shutil.which(settings.webui_python)
        if given is None:
            raise BootFailed(f"WEBUI_PYTHON={str(settings.webui_python)!r} is no program that can be run")
        return Path(given)
    own = folder / "venv" / "bin" / "python"
    if own.is_file():
        return own
    raise BootFailed(
        f"there is no {own}, and WEBUI_PYTHON is not set",
        hint="Set WEBUI_PYTHON to the Python of the environment that has the WebUI's packages.",
    )


def xformers(settings: Settings, python: Path) -> bool:
    """Return whether the WebUI is to be started with xformers: as set, else where it is installed and of use."""
    if settings.webui_xformers != "auto" or settings.on_cpu:  # xformers computes on GPUs alone
        return settings.webui_xformers == "on"
    seen = _among_packages("xformers", python)
    if seen is not None:
        return seen
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('xformers') is None)"
    done = subprocess.run([str(python), "-S", "-c", "import site; site.main(); " + code], check=False, timeout=30)
    return done.returncode == 0


def _among_packages(name: str, python: Path) -> bool | None:
    """Return whether the environment of `python` has a package, None where only that Python can tell, in 30 ms.

    Packages installed to be edited leave a file of their name there as well.
    """
    prefix = python.parent.parent
    try:
        words = (prefix / "pyvenv.cfg").read_text(encoding="utf-8").lower().replace(" ", "")
        folders = list((prefix / "lib").glob("python3.*/site-packages"))
        if "include-system-site-packages=true" in words or len(folders) != 1:
            return None
        return any(name in entry.name.lower() for entry in os.scandir(folders[0]))
    except OSError:
        return None
