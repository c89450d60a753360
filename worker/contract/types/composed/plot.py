"""Plots: one job made once for each combination of values, the pictures laid out on a sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from worker.contract.types.base_model import Name, StrictModel, Switch, optional
from worker.contract.types.fields import mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

AxisName = Literal["x", "y", "z"]
MOST_VALUES = 100


class PlotAxis(StrictModel):
    """One axis of a plot: a field of the job, or a text in its prompts, and the values that it goes through."""

    field: Name | None = optional("A field of the job by its path, such as `steps` or `loras[0].scale`.", group="plot")
    search: Name | None = optional("Or a text in the prompts, which each value takes the place of.", group="plot")
    values: list[Any] = Field(
        description="Values in order; each makes a column (x), a row (y) or a sheet (z).",
        json_schema_extra={"group": "plot", "plain": False},
        min_length=1,
        max_length=MOST_VALUES,
    )

    @model_validator(mode="after")
    def _goes_through_something(self) -> PlotAxis:
        if (self.field is None) == (self.search is None):
            raise mistake("needs field or search, one of them")
        if any(value in self.values[:index] for index, value in enumerate(self.values)):
            raise mistake("has a value twice")
        if self.search is not None and not all(isinstance(value, str) for value in self.values):
            raise mistake("values must be texts, which take the place of search")
        return self

    @property
    def title(self) -> str:
        """The name that the legend shows."""
        return self.field or self.search or ""


class Plot(StrictModel):
    """The job made once for each combination of the values of one to three axes."""

    x: PlotAxis | None = optional("Columns.", group="plot")
    y: PlotAxis | None = optional("Rows.", group="plot")
    z: PlotAxis | None = optional("Sheets side by side.", group="plot")
    legend: Switch | None = optional("Write the values beside columns, rows and sheets; default true.", group="plot")

    @model_validator(mode="after")
    def _has_axes(self) -> Plot:
        used = [axis.field for _, axis in self.axes() if axis.field is not None]
        if not list(self.axes()):
            raise mistake("needs an axis: x, y or z")
        if len(set(used)) < len(used):
            raise mistake("has two axes for one field")
        return self

    def axes(self) -> Iterator[tuple[AxisName, PlotAxis]]:
        """Yield the axes that the plot has, by name."""
        every: tuple[tuple[AxisName, PlotAxis | None], ...] = (("x", self.x), ("y", self.y), ("z", self.z))
        yield from ((name, axis) for name, axis in every if axis is not None)
