"""One measured figure, and what is kept of it: a table for people, JSON for machines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

RESULTS = Path(__file__).parent / "results"
LATEST = RESULTS / "latest.json"
MACHINE = RESULTS / "machine.json"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure.

    Attributes:
        name: ``<benchmark>.<what>``.
        value: As measured.
        unit: Of `value` and `reference`.
        reference: The alternative, measured in the same run; None where there is none.
        against: What the alternative is.
        target: What `value` (or, with ``ratio``, the ratio) has to be: ``">= 0.99"``, ``"ratio <= 1.00"``; or nothing.
    """

    name: str
    value: float
    unit: str
    reference: float | None = None
    against: str = ""
    target: str = ""

    @property
    def ratio(self) -> float | None:
        """`value` by `reference`."""
        return self.value / self.reference if self.reference else None

    @property
    def met(self) -> bool | None:
        """The verdict on the target; None without one."""
        if not self.target:
            return None
        words = self.target.split()
        measured = self.ratio if words[0] == "ratio" else self.value
        if measured is None:
            return False
        limit = float(words[-1])
        return measured >= limit if words[-2] == ">=" else measured <= limit

    def to_json(self) -> dict[str, Any]:
        """Return what ``latest.json`` keeps."""
        return {
            "value": _short(self.value),
            "reference": _short(self.reference),
            "ratio": _short(self.ratio),
            "unit": self.unit,
            "target": self.target or None,
            "met": self.met,
        }


def keep(figures: Iterable[Figure], machine: Mapping[str, Any], *, whole: bool) -> None:
    """Write the figures to ``latest.json``: in place of all that is there, or (not `whole`) of the same names only.

    What each was measured against is kept with the machine that they come from, in ``machine.json``.
    """
    known: dict[str, Any] = {} if whole else _read(LATEST)
    against: dict[str, str] = {} if whole else _read(MACHINE).get("against", {})
    for figure in figures:
        known[figure.name] = figure.to_json()
        against.pop(figure.name, None)
        if figure.against:
            against[figure.name] = figure.against
    RESULTS.mkdir(exist_ok=True)
    _write(LATEST, known)
    _write(MACHINE, {**machine, "against": dict(sorted(against.items()))}, ordered=True)


def table(figures: Sequence[Figure]) -> str:
    """Return the figures as aligned text."""
    rows = [("figure", "value", "reference", "ratio", "unit", "target", "met", "against")]
    rows += [
        (
            figure.name,
            _text(figure.value),
            _text(figure.reference),
            _text(figure.ratio),
            figure.unit,
            figure.target,
            {True: "yes", False: "NO", None: ""}[figure.met],
            figure.against,
        )
        for figure in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _read(path: Path) -> dict[str, Any]:
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return known


def _write(path: Path, content: Mapping[str, Any], *, ordered: bool = False) -> None:
    told = dict(content) if ordered else dict(sorted(content.items()))
    path.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
