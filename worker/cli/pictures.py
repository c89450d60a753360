"""SVG from text, for the docs: layers of boxes, and who says what to whom. Pure.

The first line names the kind. ``layers``: a line per row, boxes separated by ``||``, each ``name | about``. ``life``: a
line ``actors A, B``, then ``A -> B: what`` for a message and ``A: what`` for what A does by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

WIDTH = 960
_FONT = 'font-family="Helvetica, Arial, sans-serif"'
_INK = "#1f2933"
_LINE = "#7b8794"
_BOX = "#eef2f7"
_NOTE = "#fff7e0"
_ROW = 84
_STEP = 34


class NotAPicture(ValueError):
    """The text is of no known kind, or a line is not of its kind's form."""


@dataclass(frozen=True, slots=True)
class _Canvas:
    height: float
    parts: list[str]

    def svg(self) -> str:
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height:.0f}" {_FONT} fill="{_INK}">\n'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 0L8 4L0 8z" fill="{_LINE}"/></marker></defs>\n'
            f'<rect width="{WIDTH}" height="{self.height:.0f}" fill="#ffffff"/>\n'
        )
        return head + "\n".join(self.parts) + "\n</svg>\n"


def draw(text: str) -> str:
    """Return the picture that `text` describes, as SVG.

    Raises:
        NotAPicture: names the line that is not understood.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines[:1] == ["layers"]:
        return _layers(lines[1:])
    if lines[:1] == ["life"]:
        return _life(lines[1:])
    raise NotAPicture(f"the first line must be 'layers' or 'life', not {lines[:1]}")


def _layers(lines: list[str]) -> str:
    parts: list[str] = []
    for row, line in enumerate(lines):
        boxes = [box.split("|", 1) for box in re.split(r"\s*\|\|\s*", line)]
        if any(len(box) < 2 for box in boxes):  # noqa: PLR2004 - a name and what it is
            raise NotAPicture(f"a box is 'name | about': {line}")
        top = 16 + row * _ROW
        gap = 12
        wide = (WIDTH - 32 - gap * (len(boxes) - 1)) / len(boxes)
        for place, (name, about) in enumerate(boxes):
            left = 16 + place * (wide + gap)
            parts.append(_rect(left, top, wide, 56, _BOX))
            parts.append(_words(left + wide / 2, top + 23, name.strip(), 15, bold=True))
            parts.append(_words(left + wide / 2, top + 43, about.strip(), 12))
        if row:
            parts.append(_arrow(WIDTH / 2, top - _ROW + 56, WIDTH / 2, top))
    return _Canvas(16 + len(lines) * _ROW - 12, parts).svg()


def _life(lines: list[str]) -> str:
    if not lines or not lines[0].startswith("actors "):
        raise NotAPicture("the second line must name the actors")
    actors = [name.strip() for name in lines[0].removeprefix("actors ").split(",")]
    at = {name: WIDTH / len(actors) * (place + 0.5) for place, name in enumerate(actors)}
    bottom = 70 + len(lines[1:]) * _STEP
    parts = []
    for name, x in at.items():
        parts.append(f'<path d="M{x:.0f} 52V{bottom:.0f}" stroke="{_LINE}" stroke-dasharray="3 4"/>')
        parts.append(_rect(x - 70, 16, 140, 36, _BOX))
        parts.append(_words(x, 39, name, 15, bold=True))
    for row, line in enumerate(lines[1:]):
        y = 84 + row * _STEP
        message = re.fullmatch(r"(\w+) -> (\w+): (.+)", line)
        own = re.fullmatch(r"(\w+): (.+)", line)
        named = (message or own).groups()[:-1] if message or own else ()  # type: ignore[union-attr]  # one of them is
        if not named or not all(name in at for name in named):
            raise NotAPicture(f"not 'A -> B: what' or 'A: what' of the actors: {line}")
        if message:
            start, end = at[named[0]], at[named[1]]
            parts.append(_arrow(start, y, end, y))
            parts.append(_words((start + end) / 2, y - 6, message[3], 12))
        elif own:
            wide = 14 + 6.3 * len(own[2])
            parts.append(_rect(at[own[1]] - wide / 2, y - 17, wide, 24, _NOTE))
            parts.append(_words(at[own[1]], y, own[2], 12))
    return _Canvas(bottom + 10, parts).svg()


def _rect(x: float, y: float, wide: float, high: float, fill: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="6" fill="{fill}" stroke="{_LINE}"/>'
    )


def _words(x: float, y: float, words: str, size: int, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}"{weight} text-anchor="middle">{escape(words)}</text>'


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{_LINE}" fill="none" marker-end="url(#tip)"/>'
