"""Prompts with so many brackets that the WebUI's parser takes longer over them than the GPU. Pure.

A1111 v1.10.1 reads each prompt with a grammar (`modules/prompt_parser.py`) whose time grows with about the cube of the
number of brackets side by side: 50 took 2 s on one core, 100 took 8, 200 took 40, 300 more than 2 minutes, in which
nothing moves. Brackets within brackets cost next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.contract.rules import comments
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.contract.types.job import Generation

MANY, MOST = 80, 250
"""Brackets side by side: from here on it is worth a word, and more are refused."""


def side_by_side(text: str) -> int:
    """Return how many brackets at most stand side by side, those within one other taken apart."""
    most, counts, escaped = 0, [0], False
    for sign in text:
        if escaped:
            escaped = False
        elif sign == "\\":
            escaped = True
        elif sign in "([":
            counts[-1] += 1
            most = max(most, counts[-1])
            counts.append(0)
        elif sign in ")]" and len(counts) > 1:
            counts.pop()
    return most


def problems_of(job: Generation) -> Iterator[Problem]:
    """Yield a problem for each prompt that would keep the GPU waiting for minutes."""
    for path, count in _counted(job):
        if count > MOST:
            message = f"has {count} parts in brackets side by side, over which the WebUI's parser takes minutes"
            yield Problem(path, f"{message}; at most {MOST} are allowed (group them within outer brackets)")


def warnings_of(job: Generation) -> Iterator[str]:
    """Yield a warning for each prompt that keeps the GPU waiting for seconds."""
    for path, count in _counted(job):
        if MANY < count <= MOST:
            yield f"{path}: the WebUI's parser takes seconds over {count} parts in brackets side by side"


def _counted(job: Generation) -> Iterator[tuple[str, int]]:
    texts = [(job.path(name), getattr(job, name, None)) for name in comments.FIELDS]
    for index, part in enumerate(job.prompts or ()):
        texts += [(f"prompts[{index}].{name}", getattr(part, name, None)) for name in comments.FIELDS]
    for path, text in texts:
        if isinstance(text, str) and text.count("(") + text.count("[") > MANY:
            yield path, side_by_side(text)
