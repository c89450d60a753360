"""Runs the stand-in WebUI as a process of its own, on a free port, for tests."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests

from tests.support import models as model_files
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

PORT_LINE = "Uvicorn running on "
START_SECONDS = 30.0
STOP_SECONDS = 10.0
LOCAL = "http://127.0.0.1:"


@dataclass
class StandIn:
    """A running stand-in: where it is, its process, its log, and its controls."""

    url: str
    process: subprocess.Popen[str]
    log: deque[str] = field(default_factory=lambda: deque(maxlen=2000))
    exited: threading.Event = field(default_factory=threading.Event)

    def get(self, path: str, **parameters: Any) -> requests.Response:
        """A GET of `/sdapi/v1/<path>` (or of an absolute path)."""
        return requests.get(self._address(path), timeout=60, headers={"Accept-Encoding": "identity"}, **parameters)

    def post(self, path: str, json: Any = None, **parameters: Any) -> requests.Response:
        """A POST of `/sdapi/v1/<path>` (or of an absolute path)."""
        return requests.post(
            self._address(path), json=json, timeout=60, headers={"Accept-Encoding": "identity"}, **parameters
        )

    def fault(self, name: str, count: int = 1, **parameters: Any) -> None:
        """Switches a fault on for the next `count` uses (-1: for ever)."""
        answer = self.post("/standin/faults", {"fault": name, "count": count, **parameters})
        assert answer.status_code == 200, answer.text

    def reset(self) -> None:
        """Switches all faults off, lets go of what hangs, forgets the requests."""
        self.post("/standin/reset").raise_for_status()

    def requests(self, path: str = "") -> list[dict[str, Any]]:
        """What was asked so far, oldest first; with `path` only requests to it."""
        entries: list[dict[str, Any]] = self.get("/standin/requests").json()
        return [entry for entry in entries if entry["path"].endswith(path)]

    def stop(self) -> int:
        """SIGTERM, and SIGKILL when that does not end it; gives the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait(STOP_SECONDS)

    def _address(self, path: str) -> str:
        return self.url + (path if path.startswith("/") else f"/sdapi/v1/{path}")


def command(arguments: Sequence[str]) -> list[str]:
    """The command line that starts a stand-in on a port that no other test has."""
    return [
        sys.executable,
        "-m",
        "standin",
        *["--api", "--nowebui", "--server-name", "127.0.0.1", "--port", str(free_port())],
        *arguments,
    ]


@contextmanager
def running_standin(
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    models: Sequence[str] | None = None,
) -> Iterator[StandIn]:
    """A stand-in whose port is open.

    `folder` gets its data (config.json) and models. `models`: the flags of model folders; by default those of
    `model_folders`. `args` come last and win. The steps take no time unless `env` says otherwise.
    """
    flags = model_files.model_folders(folder / "models") if models is None else models
    standin = start([*["--data-dir"], str(folder / "data"), *flags, *args], env or {})
    try:
        yield standin
    finally:
        standin.stop()


def start(arguments: Sequence[str], env: Mapping[str, str]) -> StandIn:
    """Starts a stand-in and waits until its port is open; raises RuntimeError with its log where it ends before."""
    environment = {**os.environ, "STANDIN_STEP_SECONDS": "0", "STANDIN_LOAD_SECONDS": "0", **env}
    process = subprocess.Popen(
        command(arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, bufsize=1
    )
    standin = StandIn("", process)
    opened = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                standin.log.append(line.rstrip("\n"))
                if PORT_LINE in line and not standin.url:
                    standin.url = LOCAL + line.split(PORT_LINE, 1)[1].split()[0].rsplit(":", 1)[1]
                    opened.set()
        standin.exited.set()
        opened.set()

    threading.Thread(target=read, daemon=True).start()
    if not opened.wait(START_SECONDS) or not standin.url:
        standin.stop()
        raise RuntimeError("the stand-in did not open its port:\n" + "\n".join(standin.log))
    return standin
