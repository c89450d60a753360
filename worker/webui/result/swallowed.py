"""Exceptions that A1111 logs and answers 200 to: in a script's cell, an extension's hook, while options are applied.

They mean what they would in an answer of 500: no memory was there, the GPU is lost, the model was left half loaded.
Pure. Source: `modules/errors.py` (`report`, `display`), `scripts/xyz_grid.py` and `modules/scripts.py` of A1111
v1.10.1.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from worker.errors import WebUIFailed, WorkerError
from worker.webui.result import half_loaded
from worker.webui.result.response import meaning

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        half = half_loaded.half_loaded(lines, message, switches=False)
        if half:
            error.details["half_loaded"] = half
        if error is not failed or half or half_loaded.is_lost_gpu(message):
            return error
    return None
