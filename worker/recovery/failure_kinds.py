"""Classification of failed attempts: from the error that was raised to the kind that recovery decides on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from worker.errors import (
    GenerationStalled,
    NanImage,
    OutOfMemory,
    WebUICrashed,
    WebUIFailed,
    WebUIUnreachable,
    WorkerError,
    WrongResult,
)
from worker.webui.result.failures import WRONG_SHAPES, is_lost_gpu


class FailureKind(Enum):
    """The kinds of failure that are handled differently."""

    GIVEN_UP = "given up"
    """The WebUI will not come back: nothing helps."""
    CRASH = "crash"
    STALL = "stall"
    CHECKPOINT_LOAD = "checkpoint load"
    """A checkpoint could not be loaded, and the previous model is left taken apart."""
    VAE_LOAD = "VAE load"
    """The same for a VAE."""
    BROKEN_PROCESS = "broken process"
    """The GPU is lost, or a LoRA is left half applied."""
    OUT_OF_MEMORY = "out of memory"
    NAN = "NaN"
    WRONG_RESULT = "wrong result"
    """The answer differs from what was asked for."""
    GARBLED = "garbled"
    """The answer was cut short, or did not come from the WebUI."""
    INTERRUPTED = "interrupted"
    """Another client interrupted the generation; the WebUI itself is sound."""
    CONNECTION_LOST = "connection lost"
    OTHER = "other"
    """The job's own fault, or one that a second attempt would meet again."""


BREAKS_PROCESS = frozenset({FailureKind.CHECKPOINT_LOAD, FailureKind.VAE_LOAD, FailureKind.BROKEN_PROCESS})
"""After these the WebUI still answers, but nothing it makes can be trusted until it is restarted."""
_LOAD_ERRORS = frozenset(
    {"SafetensorError", "FileNotFoundError", "UnpicklingError", "EOFError", "BadZipFile", "OSError", "PermissionError"}
)
"""The WebUI's exceptions for a checkpoint switch that leaves the old model half taken apart."""


_GATEWAYS = frozenset({502, 503, 504})
"""Statuses of a proxy in front of a WebUI that it can't reach; without an exception's name they are not A1111's."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt.

    Attributes:
        error: As raised; its details are for the client.
        kind: What recovery decides on.
        recurs: The same request is bound to fail in the same way.
        said: The WebUI's own words.
    """

    error: WorkerError
    kind: FailureKind
    recurs: bool = False
    said: str = ""

    @property
    def breaks_process(self) -> bool:
        """Return whether nothing that the WebUI makes from now on can be trusted."""
        return self.kind in BREAKS_PROCESS


def classify(error: WorkerError) -> Failure:
    """Return the failure that `error` stands for. The only reader of an error's details in recovery."""
    said = str(error.details.get("upstream", ""))
    kind = _kind(error, said)
    return Failure(error, kind, recurs=kind in BREAKS_PROCESS and WRONG_SHAPES in said, said=said)


def _kind(error: WorkerError, said: str) -> FailureKind:
    kind = _process_failure(error, said)
    if kind is None and isinstance(error, WebUIFailed):
        kind = _foreign_answer(error)
    if kind is None and isinstance(error, WrongResult):
        interrupted = error.details.get("mismatches") == []
        kind = FailureKind.INTERRUPTED if interrupted else FailureKind.WRONG_RESULT
    if kind is None:
        kind = next((each for type_, each in _BY_TYPE.items() if isinstance(error, type_)), FailureKind.OTHER)
    return kind


def _foreign_answer(error: WebUIFailed) -> FailureKind | None:
    """Return the kind of an answer that the WebUI itself did not give; None where it did."""
    named = error.details.get("kind")
    if named == "NotJSON":
        return FailureKind.GARBLED
    from_proxy = not named and error.details.get("status") in _GATEWAYS
    return FailureKind.CONNECTION_LOST if from_proxy else None


_BY_TYPE: dict[type[WorkerError], FailureKind] = {
    OutOfMemory: FailureKind.OUT_OF_MEMORY,
    NanImage: FailureKind.NAN,
    WebUIUnreachable: FailureKind.CONNECTION_LOST,
}


def _process_failure(error: WorkerError, said: str) -> FailureKind | None:  # noqa: PLR0911 - one line per kind
    """Return the kind of a failure that has ended the WebUI or left it broken, None for any other."""
    if error.details.get("final"):
        return FailureKind.GIVEN_UP
    if isinstance(error, WebUICrashed):
        return FailureKind.CRASH
    if isinstance(error, GenerationStalled):
        return FailureKind.STALL
    half = error.details.get("half_loaded")
    if half == "model" or (isinstance(error, WebUIFailed) and error.details.get("kind") in _LOAD_ERRORS):
        return FailureKind.CHECKPOINT_LOAD
    if half == "vae":
        return FailureKind.VAE_LOAD
    if half or (isinstance(error, WebUIFailed) and is_lost_gpu(said)):
        return FailureKind.BROKEN_PROCESS
    return None
