"""Plots as lists of plain jobs: the client's job once for each combination of values. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from worker.common.suggestions import nearest
from worker.contract.base.json_guard import shown
from worker.contract.base.paths import root_of
from worker.contract.parse.normalise import FLAT
from worker.contract.rules.field_rules import picture_count
from worker.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from worker.contract.base.limits import Limits
    from worker.contract.types.composed.plot import AxisName, Plot, PlotAxis
    from worker.contract.types.job import Generation, Job

_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_FIXED = frozenset(
    {
        "live_previews",
        "on_mismatch",
        "output",
        "plot",
        "preset",
        "prompts",
        "recommended",
        "seeds",
        "stream",
        "timeout_s",
        "type",
    }
)
"""Fields that are about the whole job."""
_LOADS = ("checkpoint", "refiner_checkpoint", "hr_checkpoint_name", "vae")
"""Fields whose change makes the WebUI load a model, the slowest first: their axes change least often."""
_SEARCHED = ("prompt", "negative_prompt")


@dataclass(frozen=True, slots=True)
class PlotCell:
    """One combination of a plot's values.

    Attributes:
        place: Index of the value by axis.
        values: The value by axis.
        job: The plain job; errors about a value name the value.
    """

    place: Mapping[str, int]
    values: Mapping[str, Any]
    job: Generation

    @property
    def path(self) -> str:
        """The cell as errors and `parts` name it: ``plot[x=1,y=0]``."""
        return f"plot[{','.join(f'{axis}={index}' for axis, index in self.place.items())}]"


def plot_cells(
    job: Generation, read: Callable[[Mapping[str, Any]], Job], limits: Limits
) -> tuple[list[PlotCell], list[Problem]]:
    """Return the cells of the plot of `job` in the order in which they are made, and every mistake in them.

    The checkpoints of an axis change last, so that each is loaded once.

    Args:
        job: A job with a plot.
        read: Parses the fields of one cell; raises InvalidInput.
        limits: What a job may ask for.
    """
    plot = job.plot
    if plot is None:
        return [], []
    problems = [problem for name, axis in plot.axes() for problem in _wrong_axis(name, axis, job)]
    if problems:
        return [], problems
    fields = job.model_dump(exclude_unset=True, exclude={"plot"})
    cells: list[PlotCell] = []
    for place in _places(plot):
        values: dict[str, Any] = {name: axis.values[place[name]] for name, axis in plot.axes()}
        try:
            cell = _cell(fields, plot, values, read)
        except InvalidInput as error:
            problems += [_told(problem, plot, place, type(job).model_fields) for problem in error.problems]
            continue
        cell.remember(warnings=(), written={**job.written, **_written(job, plot, place)}, base_models=job.base_models)
        cells.append(PlotCell(place, values, cell))
    made = sum(picture_count(cell.job) for cell in cells)
    if not problems and made > limits.max_images:
        problems.append(Problem("plot", f"makes {made} pictures; at most {limits.max_images} are allowed"))
    return cells, list(dict.fromkeys(problems))


def _wrong_axis(name: AxisName, axis: PlotAxis, job: Generation) -> Iterator[Problem]:
    if axis.field is not None and root_of(_flat(axis.field)) in _FIXED:
        yield Problem(f"plot.{name}.field", f"can't be {axis.field}, which is about the whole job")
    if axis.search is not None and not any(axis.search in (getattr(job, text) or "") for text in _SEARCHED):
        yield Problem(f"plot.{name}.search", f"{shown(axis.search)} is in neither prompt nor negative_prompt")


def _places(plot: Plot) -> Iterator[dict[str, int]]:
    """Yield the place of each cell, x changing first but for axes that make the WebUI load a model."""
    axes = sorted(plot.axes(), key=lambda each: (_cost_of_change(each[1]), -"xyz".index(each[0])))
    for indexes in product(*(range(len(axis.values)) for _, axis in axes)):
        place = dict(zip((name for name, _ in axes), indexes, strict=True))
        yield {name: place[name] for name, _ in plot.axes()}


def _cost_of_change(axis: PlotAxis) -> int:
    root = root_of(_flat(axis.field or ""))
    return _LOADS.index(root) if root in _LOADS else len(_LOADS)


def _cell(
    fields: Mapping[str, Any],
    plot: Plot,
    values: Mapping[str, Any],
    read: Callable[[Mapping[str, Any]], Job],
) -> Generation:
    changed: Any = dict(fields)
    for name, axis in plot.axes():
        value = values[name]
        if axis.field is not None:
            try:
                changed = _with_value(changed, _steps(_flat(axis.field)), value)
            except LookupError as error:
                raise InvalidInput.at(axis.field, str(error.args[0])) from None
        elif axis.search is not None:
            replaced = {text: changed[text].replace(axis.search, value) for text in _SEARCHED if text in changed}
            changed = {**changed, **replaced}
    job: Generation = read(changed)  # type: ignore[assignment]  # the fields of a generation make one
    return job


def _flat(path: str) -> str:
    """Return `path` with the objects that the contract keeps as flat fields: ``hires.scale`` is ``hr_scale``."""
    return FLAT.get(path, path)


def _steps(path: str) -> list[str | int]:
    return [name or int(index) for name, index in _STEP.findall(path)]


def _with_value(inside: Any, steps: list[str | int], value: Any) -> Any:
    """Return a copy of `inside` with `value` at the end of `steps`. Raises LookupError: there is no such place."""
    if not steps:
        return value
    first, *rest = steps
    if isinstance(first, int):
        if not isinstance(inside, list) or first >= len(inside):
            have = len(inside) if isinstance(inside, list) else 0
            raise LookupError(f"has no entry [{first}]; the job has {have}")
        return [*inside[:first], _with_value(inside[first], rest, value), *inside[first + 1 :]]
    if inside is None and rest and isinstance(rest[0], int):
        inside = {}
    if inside is not None and not isinstance(inside, dict):
        raise LookupError(f"has no field {first!r} there")
    known = inside or {}
    return {**known, first: _with_value(known.get(first), rest, value)}


def _written(job: Generation, plot: Plot, place: Mapping[str, int]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, axis in plot.axes():
        at = job.path(f"plot.{name}.values[{place[name]}]")
        if axis.field is not None:
            found[_flat(axis.field)] = at
        elif axis.search is not None:
            found |= {text: at for text in _SEARCHED if axis.search in (getattr(job, text) or "")}
    return found


def _told(problem: Problem, plot: Plot, place: Mapping[str, int], fields: Iterable[str]) -> Problem:
    """Return a mistake of one cell at the value that makes it, or at the field that there is not."""
    for name, axis in plot.axes():
        own = {axis.field, _flat(axis.field)} if axis.field is not None else set(_SEARCHED)
        if problem.path not in own and not any(problem.path.startswith((f"{each}.", f"{each}[")) for each in own):
            continue
        unknown = problem.message.startswith(("is not a field", "has no ", "is a field of"))
        if unknown and axis.field is not None:
            said = f"{axis.field!r} {problem.message.partition(',')[0]}"
            return Problem(f"plot.{name}.field", said, problem.suggestion or nearest(axis.field, fields))
        return Problem(f"plot.{name}.values[{place[name]}]", problem.message, problem.suggestion)
    return Problem("plot", f"{problem.path}: {problem.message}", problem.suggestion)
