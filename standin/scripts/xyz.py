"""The x/y/z plot: one run per cell, grids first."""

from __future__ import annotations

import copy
import random
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from .. import processing
from ..errors import WebUIError, type_error
from ..job import result
from . import axes
from .legend import TITLE, annotate
from .missing import by_name

if TYPE_CHECKING:
    from ..job import Processed, Processing
    from ..webui import WebUI

PARAMETERS = (
    *("x_type", "x_values", "x_values_dropdown", "y_type", "y_values", "y_values_dropdown"),
    *("z_type", "z_values", "z_values_dropdown", "draw_legend", "include_lone_images", "include_sub_grids"),
    *("no_fixed_seeds", "vary_seeds_x", "vary_seeds_y", "vary_seeds_z", "margin_size", "csv_mode"),
)
MEGAPIXEL = 1_000_000
LEGEND = 20
"""Pixels above a grid."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One of the three: its name in the infotext, what it varies, its values and their text."""

    letter: str
    label: str
    values: list[Any]
    text: str
    fixed: bool

    def facts(self) -> dict[str, Any]:
        """What the grid's infotext says about it."""
        if self.label == "Nothing":
            return {}
        told: dict[str, Any] = {f"{self.letter} Type": self.label, f"{self.letter} Values": self.text}
        if self.fixed:
            told[f"Fixed {self.letter} Values"] = ", ".join(map(str, self.values))
        return told


def run(webui: WebUI, p: Processing, arguments: list[Any]) -> Processed:
    """The whole plot; raises WebUIError for missing arguments and values that cannot be used."""
    given = by_name(PARAMETERS, arguments)
    plot = [_axis(webui, p, letter, given) for letter in "XYZ"]
    cells = len(plot[0].values) * len(plot[1].values) * len(plot[2].values)
    size = round(cells * p.width * p.height / MEGAPIXEL)
    limit = webui.options.get("img_max_size_mp")
    if size >= limit:
        message = f"Error: Resulting grid would be too large ({size} MPixels) (max configured size is {limit} MPixels)"
        raise WebUIError("AssertionError", message)
    webui.state.job_count = cells * p.n_iter
    return _draw(webui, p, plot, given)


def _axis(webui: WebUI, p: Processing, letter: str, given: dict[str, Any]) -> Axis:
    kind, low = given[f"{letter.lower()}_type"], letter.lower()
    labels = webui.extensions.catalog.lists[f"@axes of {p.tab}"]
    if not isinstance(kind, int):
        raise type_error(f"list indices must be integers or slices, not {type(kind).__name__}")
    if not -len(labels) <= kind < len(labels):
        raise WebUIError("IndexError", "list index out of range")
    label = labels[kind]
    chosen = given[f"{low}_values_dropdown"] or []
    values, text = axes.values_of(
        webui, label, str(given[f"{low}_values"] or ""), chosen, as_csv=bool(given["csv_mode"])
    )
    fixed = label in ("Seed", "Var. seed") and not given["no_fixed_seeds"]
    if fixed:
        values = [random.randrange(processing.MAX_SEED) if value == -1 else value for value in values]  # noqa: S311 # seeds
    return Axis(letter, label, values, text, fixed)


def _draw(webui: WebUI, p: Processing, plot: list[Axis], given: dict[str, Any]) -> Processed:
    x, y, z = plot
    template: Processed | None = None
    grid_texts: list[Any] = [None] * (1 + len(z.values))
    cells: list[Processed] = []
    for iz, z_value in enumerate(z.values):
        for iy, y_value in enumerate(y.values):
            for ix, x_value in enumerate(x.values):
                one = p.copy()
                one.styles = list(p.styles)
                for axis, value in ((x, x_value), (y, y_value), (z, z_value)):
                    axes.apply(webui, one, axis.label, value, axis.values)
                columns = len(x.values) if given["vary_seeds_x"] else 1
                rows = len(y.values) if given["vary_seeds_y"] else 1
                shift = ix if given["vary_seeds_x"] else 0
                shift += iy * columns if given["vary_seeds_y"] else 0
                shift += iz * columns * rows if given["vary_seeds_z"] else 0
                one.seed += shift
                done = _cell(webui, p, one)
                template = template or (copy.copy(done) if done.images else None)
                cells.append(done)
                if grid_texts[1 + iz] is None and ix == 0 and iy == 0 and one.all_prompts:
                    one.extra_generation_params = {
                        **one.extra_generation_params,
                        "Script": "X/Y/Z plot",
                        **x.facts(),
                        **y.facts(),
                    }
                    grid_texts[1 + iz] = processing.describe(webui, one, 0)
                    if iz == 0:
                        one.extra_generation_params = {**one.extra_generation_params, **z.facts()}
                        grid_texts[0] = processing.describe(webui, one, 0)
    webui.model.reload()
    webui.model.reload_vae()
    if template is None:
        return result(
            p, [], timestamp=webui.state.job_timestamp, clip_skip=webui.options.get("CLIP_stop_at_last_layers")
        )
    return _collect(template, cells, plot, given, grid_texts)


def _cell(webui: WebUI, p: Processing, one: Processing) -> Processed:
    if not (webui.state.interrupted or webui.state.stopping_generation):
        try:
            return processing.run(webui, one)
        except WebUIError as error:
            told = f"generating image for xyz plot: {error.name}\nTraceback (most recent call last):"
            print(f"{told}\n{error.name}: {error.message}", file=sys.stderr, flush=True)
    return result(p, [], seed=p.seed if isinstance(p.seed, int) else -1)


def _collect(
    done: Processed, cells: list[Processed], plot: list[Axis], given: dict[str, Any], grid_texts: list[Any]
) -> Processed:
    x, y, z = (len(axis.values) for axis in plot)
    size = done.images[0].size
    pictures = [cell.images[0] if cell.images else Image.new("RGB", size) for cell in cells]
    legend, margin = bool(given["draw_legend"]), int(given["margin_size"] or 0)
    left, top = legend and plot[1].label != "Nothing", LEGEND if legend and plot[0].label != "Nothing" else 0
    per_grid = x * y
    grids = [
        annotate(
            processing.make_grid(pictures[start : start + per_grid], y),
            rows=y,
            columns=x,
            left=left,
            top=top,
            margin=margin,
        )
        for start in range(0, len(pictures), per_grid)
    ]
    whole = processing.make_grid(grids, 1)
    if legend and plot[2].label != "Nothing":
        whole = annotate(whole, rows=1, columns=1, top=TITLE)
    prompts = [cell.prompt if cell.images else None for cell in cells]
    seeds = [cell.seed if cell.images else None for cell in cells]
    texts = [cell.infotexts[0] if cell.infotexts else None for cell in cells]
    sub = bool(given["include_sub_grids"])
    done.images = [whole, *(grids if sub else []), *(pictures if given["include_lone_images"] else [])]
    first = [index * per_grid for index in range(z)]
    done.all_prompts = [*([prompts[index] for index in first] if sub else []), *prompts]
    done.all_seeds = [*([seeds[index] for index in first] if sub else []), *seeds]  # type: ignore[list-item] # null for a failed cell
    done.infotexts = [grid_texts[0], *(grid_texts[1:] if sub else []), *texts]
    done.index_of_first_image = 1
    return done
