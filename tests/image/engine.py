"""Docker as the image tests use it: one build, containers that are removed, everything on the host's loopback.

IMAGE_TEST=required       a missing engine is a failure (`make image-test`), else these tests are skipped
IMAGE_BUILD_ARGS          more arguments for `docker build`, quoted as in a shell: a mirror, a proxy, other sources
IMAGE_FRONTEND=builtin    build with the engine's own Dockerfile frontend in place of the one that `# syntax=` names
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Self

ROOT = Path(__file__).resolve().parents[2]
TAG = "a1111-worker:image-test"
USER = 10001
PYTHON = "/opt/worker-env/bin/python"
LAUNCH = """import runpy, sys
sys.argv[0] = "standin"
runpy.run_module("standin", run_name="__main__")
"""


def docker(*arguments: str, timeout: float = 60, given: str | None = None) -> str:
    """Run docker and return what it wrote to standard output; raises with both outputs when it fails."""
    done = subprocess.run(
        ["docker", *arguments], check=False, capture_output=True, text=True, timeout=timeout, input=given
    )
    if done.returncode != 0:
        raise AssertionError(f"docker {shlex.join(arguments)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def build() -> None:
    """Build the worker's half of the image as TAG, or skip where there is no engine."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "version"], check=False, capture_output=True).returncode
    ):
        if os.environ.get("IMAGE_TEST") == "required":
            pytest.fail("there is no Docker engine here")
        pytest.skip("there is no Docker engine here")
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    if os.environ.get("IMAGE_FRONTEND") == "builtin":
        text = text.replace("# syntax=", "# frontend: ", 1)
    more = shlex.split(os.environ.get("IMAGE_BUILD_ARGS", ""))
    docker("build", "--build-arg", "WEBUI=none", *more, "-t", TAG, "-f", "-", str(ROOT), timeout=900, given=text)


def webui(folder: Path) -> Path:
    """Write a folder that stands for the WebUI's checkout: the stand-in, which is no part of the image."""
    shutil.copytree(ROOT / "standin", folder / "standin", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "launch.py").write_text(LAUNCH, encoding="utf-8")
    return folder


class Container:
    """A running container of the image; use as a context manager, which removes it.

    Args:
        options: For `docker run`, before the image.
        environment: Variables.
        command: In place of the image's own.
    """

    def __init__(self, *options: str, environment: Mapping[str, str], command: Sequence[str] = ()) -> None:
        self.name = f"image-test-{uuid.uuid4().hex[:12]}"
        variables = [f"--env={name}={value}" for name, value in environment.items()]
        docker("run", "--detach", "--network=host", f"--name={self.name}", *options, *variables, TAG, *command)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            print(self.log)  # noqa: T201 - pytest shows it with the failure
        subprocess.run(["docker", "rm", "--force", self.name], check=False, capture_output=True)

    @property
    def log(self) -> str:
        done = subprocess.run(["docker", "logs", self.name], check=False, capture_output=True, text=True)
        return done.stdout + done.stderr

    def wait(self, timeout: float = 60) -> int:
        """Return the exit code once the container has ended."""
        return int(docker("wait", self.name, timeout=timeout))

    def stop(self, grace: int = 60) -> int:
        """Stop it as an orchestrator does, SIGTERM first, and return the exit code."""
        docker("stop", f"--time={grace}", self.name, timeout=grace + 30)
        return self.wait()

    def run(self, *command: str, user: str | None = None) -> str:
        """Run a command inside."""
        return docker("exec", *(["--user", user] if user else []), self.name, *command)

    def processes(self) -> dict[str, tuple[int, int]]:
        """Return pid and user id of each process, by its command line."""
        script = (
            "import glob\n"
            "for folder in glob.glob('/proc/[0-9]*'):\n"
            "    try:\n"
            "        words = ' '.join(open(folder + '/cmdline').read().replace(chr(0), ' ').split())\n"
            "        user = [line for line in open(folder + '/status') if line.startswith('Uid')][0].split()[1]\n"
            "    except OSError:\n"
            "        continue\n"
            "    print(folder[6:], user, words)\n"
        )
        rows = (line.split(" ", 2) for line in self.run(PYTHON, "-c", script).splitlines())
        return {row[2]: (int(row[0]), int(row[1])) for row in rows if len(row) == 3 and "import glob" not in row[2]}
