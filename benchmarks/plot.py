"""The figures as a picture: one bar per figure, as long as it is of its target or its alternative."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from benchmarks.figures import LATEST, RESULTS

WIDTH, ROW, LEFT, BAR = 960, 26, 300, 420
COLOURS = {True: "#2e7d32", False: "#c62828", None: "#546e7a"}


def write() -> None:
    """Write ``results/latest.svg`` from ``results/latest.json``."""
    figures: dict[str, dict[str, Any]] = json.loads(LATEST.read_text(encoding="utf-8"))
    (RESULTS / "latest.svg").write_text(draw(figures), encoding="utf-8")


def draw(figures: dict[str, dict[str, Any]]) -> str:
    """Return the SVG: the value as a bar, the alternative as a grey one behind it, both to the figure's own scale."""
    height = ROW * (len(figures) + 2)
    size = f'width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">',
        f'<rect {size} fill="#fff"/>',
        f'<text x="10" y="{ROW - 8}" font-weight="bold">Measured (grey: the alternative in the same run)</text>',
    ]
    for index, (name, figure) in enumerate(figures.items(), start=1):
        top = ROW * index + 4
        value, reference = float(figure["value"]), float(figure["reference"] or 0)
        scale = max(value, reference) or 1.0
        parts.append(f'<text x="10" y="{top + 14}">{escape(name)}</text>')
        parts.append(_bar(top, 18, reference / scale, "#cfd8dc"))
        parts.append(_bar(top + 4, 10, value / scale, COLOURS[figure["met"]]))
        said = f"{value:g}" + (f" / {reference:g}" if reference else "") + f" {figure['unit']}"
        parts.append(f'<text x="{LEFT + BAR + 10}" y="{top + 14}">{escape(said)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _bar(top: int, height: int, share: float, colour: str) -> str:
    return f'<rect x="{LEFT}" y="{top}" width="{share * BAR:.1f}" height="{height}" fill="{colour}"/>'
