"""What to do about a failed generation: a pure function of the error, what was tried, and the time that is left."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

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
from worker.recovery import memory
from worker.webui.result.failures import WRONG_SHAPES, is_lost_gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.webui.request.body import Request

SHORTEST_TRY_S = 1.0
"""With less time left another try is not begun."""
_POISONING = frozenset(
    {"SafetensorError", "FileNotFoundError", "UnpicklingError", "EOFError", "BadZipFile", "OSError", "PermissionError"}
)
"""What a checkpoint switch that leaves the old model half taken apart fails with."""


class Care(Enum):
    """What the WebUI needs before anything else is sent to it."""

    NOTHING = "nothing"
    CALM = "calm"
    """It may still be working on a request whose answer was lost: interrupt it until it is idle."""
    FREE = "free"
    """Free its caches: the model leaves the GPU and comes back."""
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Tries:
    """What happened to a job so far.

    Attributes:
        failures: How often it failed, by the error's code.
        most: How often it may be run again after one kind of failure (out of memory counts its own way).
    """

    most: int = 1
    failures: Mapping[str, int] = field(default_factory=dict)

    def after(self, error: WorkerError) -> Tries:
        """Return the tries with one more failure."""
        return replace(self, failures={**self.failures, error.code: self.count(error) + 1})

    def count(self, error: WorkerError) -> int:
        """Return how often this kind of failure has happened."""
        return self.failures.get(error.code, 0)


@dataclass(frozen=True, slots=True)
class Action:
    """What to do.

    Attributes:
        again: The request to send once more; None: the job fails with the error.
        care: What the WebUI needs, whether the job goes on or not.
        killed: The job has cost a run of the WebUI: it counts towards being refused as poison.
        counts: Whether the failure counts against how often the job may be run again.
        note: A sentence for the answer's warnings when the job succeeds after all.
    """

    again: Request | None
    care: Care = Care.NOTHING
    killed: bool = False
    counts: bool = True
    note: str | None = None


def decide(error: WorkerError, request: Request, tries: Tries, left_s: float) -> Action:
    """Return what to do after `request` failed with `error`.

    Args:
        error: What happened.
        request: What was sent.
        tries: What happened before, this failure not counted.
        left_s: Seconds until the job's deadline.
    """
    count = tries.count(error)
    action = _wanted(error, request, again=request if count < tries.most else None, repeated=count > 0)
    return action if left_s > SHORTEST_TRY_S else replace(action, again=None)


def innocent(request: Request, left_s: float) -> Action:
    """Return what to do about a request that failed because another one broke the process: run it again, uncounted."""
    note = "The WebUI had to be restarted because of another job; this is from a second run."
    return Action(request if left_s > SHORTEST_TRY_S else None, counts=False, note=note)


def _wanted(error: WorkerError, request: Request, *, again: Request | None, repeated: bool) -> Action:  # noqa: PLR0911 - one line per row
    if error.details.get("final"):
        return Action(None)
    if isinstance(error, WebUICrashed):
        return Action(again, Care.NOTHING, killed=True, note="The WebUI crashed; this is from a second run.")
    if isinstance(error, GenerationStalled):
        return Action(again, Care.NOTHING, killed=True, note="The WebUI hung; this is from a second run.")
    if isinstance(error, OutOfMemory) and not broke_the_process(error):
        return _less(request, None if repeated else again)
    if isinstance(error, NanImage):
        return _precise(again)
    if broke_the_process(error):
        hopeless = WRONG_SHAPES in str(error.details.get("upstream", ""))
        return Action(
            None if hopeless else again,
            Care.RESTART,
            killed=True,
            note="The WebUI had to be restarted; this is from a second run.",
        )
    if isinstance(error, WrongResult) or is_garbled(error):
        care = Care.RESTART if repeated and error.details.get("mismatches") != [] else Care.NOTHING
        return Action(again, care, note="The WebUI's first answer was wrong; this is from a second run.")
    if isinstance(error, WebUIUnreachable):
        care = Care.RESTART if repeated else Care.CALM
        return Action(again, care, note="The WebUI's first answer was lost; this is from a second run.")
    return Action(None)


def _precise(again: Request | None) -> Action:
    if again is None:
        return Action(None)
    if memory.is_set(again, memory.UPCAST):  # known to need it, and it has helped before
        return Action(again, note="The model made NaNs; this is from a second run.")
    note = "The model made NaNs; this was computed in full precision."
    return Action(memory.with_options(again, memory.UPCAST), note=note)


def _less(request: Request, same: Request | None) -> Action:
    """Return the next smaller request, else `same`: what is planned small from the start may find more room freed."""
    again = memory.smaller(request)
    if again is None:
        return Action(same, Care.FREE, note="The GPU's memory was too small at first; this is from a second run.")
    if memory.batch(again) < memory.batch(request):
        note = f"The GPU's memory holds {memory.batch(again)} of these pictures at once; the seeds are the same."
    else:
        note = "Made with memory-saving options, since the GPU's memory was too small without."
    return Action(again, Care.FREE, note=note)


def broke_the_process(error: WorkerError) -> bool:
    """Return whether the WebUI answers on, but nothing it makes can be trusted until it is restarted."""
    if error.details.get("half_loaded"):
        return True
    if not isinstance(error, WebUIFailed):
        return False
    return switch_failed(error) or is_lost_gpu(str(error.details.get("upstream", "")))


def may_be_asked_again(error: WorkerError) -> bool:
    """Return whether what makes no picture by diffusion is worth asking for a second time."""
    if error.details.get("final"):
        return False
    lost = isinstance(error, WebUICrashed | WebUIUnreachable | OutOfMemory | WrongResult)
    return lost or broke_the_process(error) or is_garbled(error)


def switch_failed(error: WorkerError) -> bool:
    """Return whether a checkpoint could not be loaded."""
    torn = isinstance(error, WebUIFailed) and error.details.get("kind") in _POISONING
    return torn or error.details.get("half_loaded") == "model"


def is_garbled(error: WorkerError) -> bool:
    """Return whether the answer was cut short or is none of the WebUI's."""
    return isinstance(error, WebUIFailed) and error.details.get("kind") == "NotJSON"
