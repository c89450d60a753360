"""Loading of checkpoints: it takes its time, and obeys the faults."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from standin.errors import WebUIError
from standin.models.loaded_model import load_weights

if TYPE_CHECKING:
    from standin.faults.switches import Faults
    from standin.models.checkpoints import Checkpoint, Weights


class CheckpointLoader:
    """Loads one checkpoint after the other, each in `seconds`."""

    def __init__(self, faults: Faults, seconds: float) -> None:
        self._faults = faults
        self._seconds = seconds
        self._first = True

    def __call__(self, checkpoint: Checkpoint) -> Weights:
        """Return the weights; raises WebUIError where a fault lets the load fail."""
        first, self._first = self._first, False
        if self._faults.take("never-loads"):
            threading.Event().wait()
        slow = self._faults.take("slow-load")
        threading.Event().wait(slow.number("seconds", 5) if slow else self._seconds)
        failing = self._faults.take("load-fails", where=first)
        if failing is not None:
            raise WebUIError(
                failing.text("error", "RuntimeError"),
                failing.text("message", "PytorchStreamReader failed reading zip archive"),
            )
        if self._faults.take("load-oom", where=not first):
            print(f"Loading weights [None] from {checkpoint.path}", flush=True)
            raise WebUIError(
                "RuntimeError",
                f"unable to mmap 4265146304 bytes from file <{checkpoint.path}>: Cannot allocate memory (12)",
            )
        return load_weights(checkpoint)
