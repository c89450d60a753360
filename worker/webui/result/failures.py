"""Failures of A1111 by its own words: errors that it answers with, and those that only its log knows of. Pure.

Three things make a difference to recovery: memory was not there, the GPU is lost, a model was left half loaded.

A1111 takes the loaded model apart before it reads another checkpoint or VAE, and puts it together again only where all
went well. Whatever fails in between (a file cut short, but just as well memory that is not there), the process answers
on with 200, and prompts with weights or embeddings become other pictures. A LoRA whose layers could not be computed for
want of memory stays half applied as well, and the next request with the same LoRAs finds nothing to do.

Exceptions in a script's cell, in an extension's hook or while options are applied are logged and answered with 200.
They mean the same as in an answer of 500.

Sources: `modules/sd_models.py` (`reload_model_weights`, `load_model`), `modules/sd_vae.py` (`reload_vae_weights`),
`extensions-builtin/Lora/networks.py` (`network_apply_weights`), `modules/errors.py` (`report`, `display`),
`scripts/xyz_grid.py` and `modules/scripts.py` of A1111 v1.10.1; seen under a limit of memory.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from worker.errors import NanImage, OutOfMemory, WebUIFailed, WorkerError

if TYPE_CHECKING:
    from collections.abc import Sequence

_MODEL = re.compile(r"Reusing loaded model |Loading model .+ out of |Loading weights \[|Creating model from config: ")
_VAE = re.compile(r"Loading VAE weights |Restoring base VAE")
_DONE = re.compile(r"\b(?:VAE weights loaded|Weights loaded|Model loaded|Using already loaded model)\b")
_VAE_SHAPES = re.compile(r"in loading state_dict for \w*(?:Autoencoder|VAE)")
"""A1111 restores a checkpoint of the wrong shape; of such a VAE the layers that did fit are in place already."""
_RESTORED = "Failed to load checkpoint, restoring previous"
WRONG_SHAPES = "in loading state_dict"
"""In the words of a failure that will come again: the file is for another kind of model."""
_BEGAN = re.compile(r" INFO \[modules\.shared_state\] Starting job scripts_")
_INTERRUPT = " INFO [modules.shared_state] Received interrupt request"
_LAYER = re.compile(r"\bNetwork .+? layer \S+: ")
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "alloc_failed",
    "bad_alloc",
    "unable to find a valid cudnn algorithm",
    "could not create a primitive",
)
"""Messages of torch, its libraries and the kernel on a GPU and on a CPU; the last two mean no room to work."""

_LOST_GPU = ("cuda error", "cudnn error", "cublas error", "device-side assert", "hip error", "nccl error")


def is_no_memory(text: str) -> bool:
    """Return whether an error's words mean that memory was not there."""
    said = text.lower()
    return any(sign in said for sign in _NO_MEMORY)


def is_lost_gpu(text: str) -> bool:
    """Return whether an error's words mean that the process can't use its GPU any more."""
    said = text.lower()
    return any(sign in said for sign in _LOST_GPU)


def half_loaded(lines: Sequence[str], said: str, *, switches: bool) -> Literal["model", "vae"] | None:
    """Return what a request that failed has left half loaded, None when nothing.

    Args:
        lines: What the WebUI logged during the request.
        said: The error's words.
        switches: The request needed another checkpoint than the one before it.
    """
    half: Literal["model", "vae"] | None = None
    restored, done = False, False
    for line in lines:
        if _DONE.search(line):
            half, done = None, True
        elif _RESTORED in line:
            restored = True
        elif _MODEL.search(line):
            half = "model"
        elif _VAE.search(line):
            half = "vae"
    if restored and WRONG_SHAPES in said:  # the one failure that A1111 recovers from: the old weights are back
        return None
    return half or ("model" if switches and not done else None)


def half_loaded_by_words(said: str, *, switches: bool) -> Literal["model", "vae"] | None:
    """Return what a request that failed may have left half loaded, where there is no log to tell.

    Args:
        said: The error's words.
        switches: The request needed another checkpoint than the one before it: any failure may have come from that.
    """
    if switches:
        return "model"
    return "vae" if _VAE_SHAPES.search(said) else None


def was_interrupted(lines: Sequence[str]) -> bool:
    """Return whether an interrupt hit the request whose log `lines` are: its pictures are unfinished, without a sign.

    One that was sent for the request before it may be carried out late, when the WebUI was too busy to listen. Only
    what came after the request's own beginning counts. Source: `modules/shared_state.py`.
    """
    if not any(_INTERRUPT in line for line in lines):
        return False
    began = max((number for number, line in enumerate(lines) if _BEGAN.search(line)), default=None)
    return began is not None and any(_INTERRUPT in line for line in lines[began:])


def starved_loras(lines: Sequence[str]) -> list[str]:
    """Return the lines that tell of LoRA layers left out for want of memory; the WebUI answers 200 all the same."""
    return [line for line in lines if _LAYER.search(line) and is_no_memory(line)]


def nan_error(kind: str, message: str) -> NanImage | None:
    """Return NanImage for A1111's NansException."""
    if kind == "NansException" or "NansException" in message:
        return NanImage(
            "the model produced NaNs: " + message.splitlines()[0][:300],
            hint="Try another VAE, or a checkpoint in full precision.",
        )
    return None


def meaning(error: WebUIFailed) -> WorkerError:
    """Return the error that an answer of 500 amounts to."""
    kind, message = str(error.details.get("kind", "")), str(error.details.get("upstream", ""))
    if kind in {"OutOfMemoryError", "MemoryError"} or is_no_memory(message):
        return OutOfMemory(
            message.splitlines()[0][:300] if message else "out of memory",
            hint="Ask for smaller or fewer pictures at once (width, height, batch_size, hires scale).",
        )
    return nan_error(kind, message) or error


_TRACEBACK = "Traceback (most recent call last):"
_RAISED = re.compile(r"((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*)(?:: (.*))?")
_REPORT = "*** "
_API_ERROR = "*** API error: "
"""Answered with 500, to this request or, where the lines come late, to the one before it."""
_TELLING = 1000


class Swallowed(NamedTuple):
    """An exception of which only the log knows."""

    kind: str
    message: str


def swallowed(lines: Sequence[str]) -> list[Swallowed]:
    """Return the exceptions whose tracebacks are in a request's log, but for those that were answered with an error."""
    found: list[Swallowed] = []
    if not any(_TRACEBACK in line for line in lines):
        return found
    indent: int | None = None
    header = ""
    for line in lines:
        depth = len(line) - len(line.lstrip(" "))
        if line.startswith(_REPORT):
            header, indent = line, None
        elif line.strip() == _TRACEBACK:
            # Indented, it belongs to a report: without its head it is the end of another request's.
            indent = depth if depth == 0 or header else None
        elif indent is not None and depth == indent and (raised := _RAISED.fullmatch(line.strip())):
            if depth == 0 or not header.startswith(_API_ERROR):
                found.append(Swallowed(raised[1].rpartition(".")[2], (raised[2] or "")[:_TELLING]))
            indent = None
    return found


def verdict(lines: Sequence[str]) -> WorkerError | None:
    """Return the error that an answer of 200 hides, None where its log has none that makes a difference to recovery."""
    for kind, message in swallowed(lines):
        failed = WebUIFailed(
            f"the WebUI answered in spite of {kind}: {message}",
            details={"status": 200, "kind": kind, "upstream": message},
        )
        error = meaning(failed)
        half = half_loaded(lines, message, switches=False)
        if half:
            error.details["half_loaded"] = half
        if error is not failed or half or is_lost_gpu(message):
            return error
    return None
