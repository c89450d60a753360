"""Workers as the platform runs them: `handler.py`, the real SDK, a loopback job source, the stand-in as the WebUI."""

from __future__ import annotations

import base64
import hashlib
import io
import time
from typing import TYPE_CHECKING, Any

import psutil
import requests
from PIL import Image

from tests.support import webui_dir
from tests.support.workerproc import ROOT, WorkerProcess

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Self

    from tests.support.jobsource import JobSource

POISON = "poisonous"
"""A word in a prompt that kills the rig's WebUI, whichever run of it."""
SMALL = {"prompt": "a cat", "steps": 4, "width": 64, "height": 64, "seed": 42}
"""A job that takes no time; its picture depends on nothing but these fields and the default model."""


class Rig:
    """A worker in a process of its own, where its jobs come from, and its WebUI's controls."""

    def __init__(self, folder: Path, source: JobSource, **settings: str) -> None:
        self.source = source
        self.folder = folder
        self.environment = {
            **webui_dir.environment(folder),
            **source.worker_env(),
            "LOG_FORMAT": "json",
            "IDLE_TIMEOUT_S": "2",
            **settings,
        }
        self.environment.pop("PATH")
        self._port = int(self.environment["WEBUI_PORT"])
        self._known: psutil.Process | None = None
        self.worker = WorkerProcess([str(ROOT / "handler.py")], self.environment, folder)

    def __enter__(self) -> Self:
        self.worker.__enter__()
        return self

    def __exit__(self, *why: object) -> None:
        self.worker.__exit__(*why)

    @property
    def url(self) -> str:
        """The WebUI's address, where nobody but the worker's own WebUI listens."""
        if self._known is None or not self._known.is_running():
            self._known = self.worker.assert_own(self._port)
        return f"http://127.0.0.1:{self._port}"

    def run(self, **fields: Any) -> dict[str, Any]:
        """Run one small job with these fields and return its answer."""
        return self.answer(self.offer(**fields))

    def offer(self, **fields: Any) -> str:
        return self.source.offer(**{**SMALL, **fields})

    def answer(self, job: str, timeout: float = 30.0) -> dict[str, Any]:
        """Return a job's answer as the worker gave it: the SDK takes its `error` out."""
        result = self.source.wait_result(job, timeout)
        return {**result.output, "error": result.error} if result.error else result.output

    def fault(self, fault: str, count: int = 1, **parameters: Any) -> None:
        """Switch a fault of the WebUI on."""
        body = {"fault": fault, "count": count, **parameters}
        assert requests.post(f"{self.url}/standin/faults", json=body, timeout=10).status_code == 200

    def reset(self) -> None:
        requests.post(f"{self.url}/standin/reset", timeout=10).raise_for_status()

    def webui(self) -> psutil.Process:
        """The WebUI's process."""
        return psutil.Process(requests.get(f"{self.url}/standin", timeout=10).json()["pid"])

    def sent(self) -> list[dict[str, Any]]:
        """The bodies of the txt2img requests that this run of the WebUI got."""
        entries = requests.get(f"{self.url}/standin/requests", timeout=10).json()
        return [entry["json"] for entry in entries if entry["path"] == "/sdapi/v1/txt2img"]

    def wait_sampling(self) -> None:
        """Return when the WebUI has begun a job's steps."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            state = requests.get(f"{self.url}/sdapi/v1/progress", timeout=10).json()["state"]
            if state["job"] and state["sampling_step"]:
                return
        raise AssertionError("no job runs")


def pixels(image: str) -> str:
    """A picture's pixels as a hash."""
    with Image.open(io.BytesIO(base64.b64decode(image))) as picture:
        return hashlib.sha256(picture.convert("RGB").tobytes()).hexdigest()
