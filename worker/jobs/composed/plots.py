"""Answers to plots: the sheet of all cells, and the cell of each picture."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from worker.errors import WrongResult
from worker.images.formats.picture import BrokenPicture
from worker.images.layout.plot_sheet import SheetLabels, plot_sheet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.contract.parse.plot_cells import PlotCell
    from worker.contract.types.composed.plot import PlotAxis
    from worker.contract.types.job import Generation
    from worker.images.formats.picture import Picture
    from worker.jobs.results import Generated, PartResult


def in_cell(made: Generated, cell: PlotCell) -> Generated:
    """Return pictures with the cell of a plot that they were made for among their facts."""
    return replace(made, facts=tuple(replace(each, cell=cell.values) for each in made.facts))


def plot_sheet_of(job: Generation, parts: Sequence[PartResult]) -> Picture | None:
    """Return the sheet of a plot: the first picture of each cell; None where no cell has one. Blocking.

    Raises:
        WrongResult: a picture can't be decoded.
    """
    plot, output = job.plot, job.output
    cells = dict(_first_pictures(parts))
    if plot is None or not cells:
        return None
    labels = SheetLabels(_labels(plot.x), _labels(plot.y), _labels(plot.z))
    kind = output.format or next(iter(cells.values())).format
    try:
        return plot_sheet(
            cells,
            labels,
            legend=plot.legend is not False,
            format=kind,
            quality=output.quality,
            lossless=bool(output.lossless),
        )
    except BrokenPicture as error:
        raise WrongResult(f"a picture has whole headers but no whole pixels: {error}") from None


def _first_pictures(parts: Sequence[PartResult]) -> Iterator[tuple[tuple[int, int, int], Picture]]:
    seen: set[str] = set()
    for part in parts:
        if part.cell is None or part.cell.path in seen or part.result is None or not part.result.pictures:
            continue
        seen.add(part.cell.path)
        place = part.cell.place
        yield (place.get("x", 0), place.get("y", 0), place.get("z", 0)), part.result.pictures[0]


def _labels(axis: PlotAxis | None) -> list[str]:
    if axis is None:
        return [""]
    return [label_of(axis, value) for value in axis.values]


def label_of(axis: PlotAxis, value: Any) -> str:
    """Return the text beside a row or column: names speak for themselves, numbers come with their field."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return f"{axis.title}: {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"{axis.title}: {value:g}" if isinstance(value, float) else f"{axis.title}: {value}"
    return f"{axis.title}: {_named(value)}"


def _named(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_named(part) for part in value) or "none"
    if isinstance(value, dict):
        name = value.get("name") or value.get("url")
        scale = f" {value['scale']}" if value.get("scale") is not None else ""
        return f"{name}{scale}" if name else str(value)
    return "none" if value is None else str(value)
