"""The texts that one prompt stands for while a picture is made: ``[before:after:when]`` and ``[one|other]``. Pure.

The WebUI gives the model another text at another step. Source: `modules/prompt_parser.py` of A1111 v1.10.1.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*")
_MOST_NESTED = 40
"""Deeper ones the WebUI's own parser gives up on."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of one pass.

    Attributes:
        count: Steps of this pass.
        before: Steps of the pass before it: whole numbers in a prompt count both passes.
        part: Fractions in a prompt count from here on.
    """

    count: int
    before: int = 0
    part: float = 0.0

    def at(self, when: str) -> int:
        """Return the last step before a change, as the WebUI reads its moment."""
        value = float(when)
        exact = (value - self.part) * self.count if "." in when else value - self.before
        return min(self.count, int(exact))


_Piece = Union[str, "_Group"]


@dataclass(slots=True)
class _Group:
    """Something in brackets: its parts, each of pieces, and the signs between the parts."""

    sign: str
    parts: list[list[_Piece]] = field(default_factory=lambda: [[]])
    between: list[str] = field(default_factory=list)

    @property
    def when(self) -> str | None:
        """The moment of a change, as written."""
        if self.sign != "[" or set(self.between) != {":"} or len(self.parts) > 3 or len(self.parts[-1]) > 1:  # noqa: PLR2004 - before, after, when
            return None
        last = self.parts[-1][0] if self.parts[-1] else ""
        match = _NUMBER.fullmatch(last) if isinstance(last, str) else None
        return match.group(1) if match else None

    @property
    def alternates(self) -> bool:
        """True where its parts take turns."""
        return self.sign == "[" and set(self.between) == {"|"}


_ENDS = {"(": ")", "[": "]"}


def texts_of(prompt: str, passes: tuple[Steps, ...]) -> Iterator[str]:
    """Yield the texts that the WebUI makes of a prompt in these passes, each once, without the marks of changes."""
    root = _parsed(prompt)
    if root is None:
        return
    groups = list(_groups(root))
    round_ = math.lcm(*(len(group.parts) for group in groups if group.alternates))
    whens = [when for group in groups if (when := group.when) is not None]
    if round_ == 1 and not whens:
        return
    seen: set[str] = set()
    for steps in passes:
        begins = {0, *(steps.at(when) for when in whens)}
        for step in sorted({step for at in begins for step in range(max(1, at), at + round_ + 1)}):
            if step > steps.count:
                break
            text = _rendered(root, steps, step)
            if text not in seen:
                seen.add(text)
                yield text


def _parsed(prompt: str) -> _Group | None:
    """Return the prompt's groups, None where it has no change or can't be read."""
    if "[" not in prompt:
        return None
    stack = [_Group("")]
    at = 0
    while at < len(prompt):
        sign = prompt[at]
        if sign == "\\":
            stack[-1].parts[-1].append(prompt[at : at + 2])
            at += 2
            continue
        at += 1
        group = stack[-1]
        if sign in _ENDS:
            if len(stack) > _MOST_NESTED:
                return None
            stack.append(_Group(sign))
        elif sign == _ENDS.get(group.sign):
            stack.pop()
            stack[-1].parts[-1].append(group)
        elif sign in ":|" and group.sign:
            group.between.append(sign)
            group.parts.append([])
        elif group.parts[-1] and isinstance(group.parts[-1][-1], str):
            group.parts[-1][-1] += sign
        else:
            group.parts[-1].append(sign)
    while len(stack) > 1:  # a bracket without its end is text
        group = stack.pop()
        stack[-1].parts[-1] += _spelled_out(group, end="")
    return stack[0]


def _spelled_out(group: _Group, *, end: str) -> list[_Piece]:
    """Return the pieces of a group that changes nothing, with its brackets and signs as they were."""
    pieces: list[_Piece] = [group.sign, *group.parts[0]]
    for sign, part in zip(group.between, group.parts[1:], strict=True):
        pieces += [sign, *part]
    return [*pieces, end]


def _groups(group: _Group) -> Iterator[_Group]:
    yield group
    for part in group.parts:
        for piece in part:
            if isinstance(piece, _Group):
                yield from _groups(piece)


def _rendered(group: _Group, steps: Steps, step: int) -> str:
    """Return a group's text at a step, counted from 1."""
    pieces: list[_Piece]
    if group.alternates:
        pieces = group.parts[(step - 1) % len(group.parts)]
    elif (when := group.when) is not None:
        before = group.parts[0] if len(group.parts) == 3 else []  # noqa: PLR2004 - before, after, when
        pieces = before if step <= steps.at(when) else group.parts[-2]
    else:
        pieces = _spelled_out(group, end=_ENDS.get(group.sign, ""))
    return "".join(piece if isinstance(piece, str) else _rendered(piece, steps, step) for piece in pieces)
