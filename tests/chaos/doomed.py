"""Workers that can not start, or are ended while they do: what has to become of each."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.jobsource import JobSource
    from tests.support.rig import Rig

SLOW_START = {"STANDIN_IMPORT_SECONDS": "30"}


@dataclass(frozen=True, slots=True)
class Doom:
    """A start that fails.

    Attributes:
        code: The worker's exit code in the end.
        settings: What makes it fail.
        to_webui, to_worker: Signals that are sent as soon as the WebUI's process is there.
    """

    code: int
    settings: Mapping[str, str] = field(default_factory=dict)
    to_webui: signal.Signals | None = None
    to_worker: signal.Signals | None = None


DOOMS = {
    "boot-exit": Doom(1, {"STANDIN_FAULTS": "boot-exit:code=3"}),
    "boot-no-port": Doom(1, {"STANDIN_FAULTS": "no-port", "BOOT_TIMEOUT_S": "3"}),
    "boot-other-model": Doom(1, {"STANDIN_FAULTS": "other-model", "BOOT_TIMEOUT_S": "15"}),
    "boot-no-volume": Doom(1, {"MODELS_DIR": "/proc/nowhere"}),
    "boot-no-gpu": Doom(1, {"NVIDIA_VISIBLE_DEVICES": "all"}),
    "stop-boot": Doom(1, {**SLOW_START, "BOOT_TIMEOUT_S": "5"}, to_webui=signal.SIGSTOP),
    "end-boot": Doom(0, SLOW_START, to_worker=signal.SIGTERM),
    "kill-boot": Doom(-signal.SIGKILL, SLOW_START, to_worker=signal.SIGKILL),
}


class DoomedStart:
    """One such worker, from its start to its end."""

    def __init__(self, name: str, rig: Rig) -> None:
        self.name = name
        self.rig = rig
        self._doom = DOOMS[name]
        self._sent = False

    def tick(self) -> bool:
        """Send what is to be sent once its WebUI's process is there; return whether it has ended."""
        if self._sent or (self._doom.to_webui is None and self._doom.to_worker is None):
            return not self.rig.worker.alive
        webui = self._webui()
        if webui is not None:
            self._sent = True
            if self._doom.to_webui is not None:
                webui.send_signal(self._doom.to_webui)
            if self._doom.to_worker is not None:
                psutil.Process(self.rig.worker.pid).send_signal(self._doom.to_worker)
        return not self.rig.worker.alive

    def _webui(self) -> psutil.Process | None:
        """Return the WebUI's process once it is that: not yet where it is but a copy of the worker."""
        for process in self.rig.worker.family():
            with contextlib.suppress(psutil.Error):
                if any(part.endswith("launch.py") for part in process.cmdline()):
                    return process
        return None

    def flaws(self, source: JobSource) -> list[str]:
        """Return what was wrong with its end, after it."""
        found = []
        code = self.rig.worker.wait()
        if code != self._doom.code:
            found.append(f"{self.name}: a worker ended with {code}, not {self._doom.code}")
        pod = self.rig.environment["RUNPOD_POD_ID"]
        taken = [event.job_id for event in source.events("taken") if event.data["pod"] == pod]
        if taken:
            found.append(f"{self.name}: a worker that can not work took {taken}")
        return found
