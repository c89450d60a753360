"""Places in the client's own input of fields that normalising has moved."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_BOUNDARY = re.compile(r"(?=[.\[])")


def as_written(path: str, written: Mapping[str, str]) -> str:
    """Return `path` with its longest known beginning replaced by where the client wrote it."""
    if not written:
        return path
    steps = _BOUNDARY.split(path)
    for end in range(len(steps), 0, -1):
        known = written.get("".join(steps[:end]))
        if known is not None:
            return known + "".join(steps[end:])
    return path


def root_of(path: str) -> str:
    """Return the first name of `path`: ``loras`` of ``loras[1].scale``."""
    return _BOUNDARY.split(path, maxsplit=1)[0]
