"""A selectable script's arguments by name, as the positional list that A1111 takes. Pure.

`GET /sdapi/v1/script-info` gives labels, defaults, ranges and choices; what it shows as text and the script reads by
index is translated here (measured: x/y/z plot's types).
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from worker.contract.base.json_guard import shown
from worker.errors import Problem
from worker.suggestions import nearest, plain
from worker.webui.request import xyz_plot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.rules.sizes import Size

MATRIX, FROM_FILE = "prompt matrix", "prompts from file or textbox"
_MANY_PARTS = 30
_PLACES = ("start", "end")
"""Where prompts from file puts the job's prompt."""
OFFERED = (
    "img2img alternative test",
    "loopback",
    "outpainting mk2",
    "poor man's outpainting",
    "prompt matrix",
    "prompts from file or textbox",
    "sd upscale",
    "x/y/z plot",
)
"""Scripts that a job may select; Ultimate SD upscale has a field of its own."""
XYZ = "x/y/z plot"
SD_UPSCALE = "sd upscale"
_OVERLAPS = {SD_UPSCALE: 1, "poor man's outpainting": 0}
"""Script → the place of the argument by how much its tiles overlap."""
_NONE_KNOWN: Mapping[str, Sequence[str]] = MappingProxyType({})
MOST_CELLS = 100
_AXES = ("X", "Y", "Z")
_TEXT_INPUT = "Use text inputs instead of dropdowns"
_RANGE = re.compile(r"\s*(-?\d+)\s*-\s*(-?\d+)\s*(?:\(\s*([+-]?\d+)\s*\)|\[\s*(\d+)\s*\])?\s*")


def find(scripts: Sequence[Mapping[str, Any]], name: str, *, img2img: bool) -> Mapping[str, Any] | None:
    """Return the entry of script-info for the selectable script `name` of one tab, in any case."""
    wanted = name.strip().lower()
    matching = (
        entry
        for entry in scripts
        if str(entry.get("name", "")).lower() == wanted
        and not entry.get("is_alwayson")
        and bool(entry.get("is_img2img")) == img2img
    )
    return next(matching, None)


def arguments(
    entry: Mapping[str, Any],
    given: Mapping[str, Any] | Sequence[Any] | None,
    path: str,
    known: Mapping[str, Sequence[str]] = _NONE_KNOWN,
) -> tuple[list[Any], list[Problem]]:
    """Return the whole list of arguments of a script.

    Args:
        entry: Its entry of script-info.
        given: Label → value, in any spelling; or the whole list in order; None: all defaults.
        path: Of `given` in the job.
        known: What the axes of x/y/z plot can go through; see `axes.names`.
    """
    rows = [row for row in entry.get("args", ()) if isinstance(row, dict)]
    defaults = [None if _is_heading(row) else row.get("value") for row in rows]
    if str(entry.get("name", "")).lower() == XYZ:
        defaults = [_xyz_default(row, value) for row, value in zip(rows, defaults, strict=True)]
    if given is None:
        given = {}
    if not isinstance(given, dict):
        listed = list(given)
        if len(listed) != len(rows):
            message = f"must be all {len(rows)} arguments in order, not {len(listed)}; or an object by label"
            return [], [Problem(path, message)]
        return _settled(entry, rows, listed, [f"{path}[{index}]" for index in range(len(rows))], known)
    values, problems = list(defaults), []
    places = [f"{path}.{row.get('label', '')}" for row in rows]
    keys = _keys(rows)
    for label, value in given.items():
        index = keys.get(plain(label))
        if index is None:
            labels = [str(row.get("label", "")) for row in rows if not _is_heading(row)]
            problems.append(Problem(f"{path}.{label}", "is not an argument of this script", nearest(label, labels)))
            continue
        if isinstance(value, list) and keys.get(f"{plain(label)}list") is not None:
            index = keys[f"{plain(label)}list"]
        values[index] = value
        places[index] = f"{path}.{label}"
    if problems:
        return [], problems
    return _settled(entry, rows, values, places, known)


def _xyz_default(row: Mapping[str, Any], value: Any) -> Any:
    """Return an axis that is not used; the screen's own default goes through seeds."""
    if str(row.get("label", "")).endswith(" type"):
        return 0
    return [] if row.get("choices") == [] and value is None else value


def _keys(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return label without case and punctuation → index; the second of two equal labels takes lists."""
    keys: dict[str, int] = {}
    for index, row in enumerate(rows):
        if _is_heading(row):
            continue
        key = plain(str(row.get("label", "")))
        keys.setdefault(f"{key}list" if key in keys else key, index)
    return keys


def _is_heading(row: Mapping[str, Any]) -> bool:
    return not row.get("label")


def _settled(
    entry: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    values: list[Any],
    places: Sequence[str],
    known: Mapping[str, Sequence[str]],
) -> tuple[list[Any], list[Problem]]:
    problems: list[Problem] = []
    xyz = str(entry.get("name", "")).lower() == XYZ
    for index, (row, path) in enumerate(zip(rows, places, strict=True)):
        if _is_heading(row):
            values[index] = None
            continue
        found = _checked(row, values[index], path, by_index=xyz and str(row.get("label", "")).endswith(" type"))
        if isinstance(found, Problem):
            problems.append(found)
        else:
            values[index] = found
    if xyz and not problems:
        problems += _axes(rows, values, places, known)
    return values, problems


def _checked(row: Mapping[str, Any], value: Any, path: str, *, by_index: bool) -> Any:
    """Return `value` as the script wants it, or a problem."""
    default, choices = row.get("value"), row.get("choices")
    if choices:
        return _chosen(choices, value, path, several=isinstance(default, list), by_index=by_index)
    if isinstance(default, (bool, int, float)):
        return _measured(row, default, value, path)
    if isinstance(default, str) and not isinstance(value, str):
        return Problem(path, f"must be text, not {shown(value)}")
    return value


def _measured(row: Mapping[str, Any], default: float, value: Any, path: str) -> Any:
    if isinstance(default, bool):
        return value if isinstance(value, bool) else Problem(path, f"must be true or false, not {shown(value)}")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return Problem(path, f"must be a number, not {shown(value)}")
    low, high = row.get("minimum"), row.get("maximum")
    if low is not None and high is not None and not low <= value <= high:
        return Problem(path, f"must be {low:g} to {high:g}, not {value:g}")
    return value


def _chosen(choices: Sequence[str], value: Any, path: str, *, several: bool, by_index: bool) -> Any:
    if several and isinstance(value, list):
        found = [_chosen(choices, part, path, several=False, by_index=by_index) for part in value]
        return next((part for part in found if isinstance(part, Problem)), found)
    if by_index and type(value) is int:
        if 0 <= value < len(choices):
            return value
        return Problem(path, f"must be 0 to {len(choices) - 1}, not {value}")
    match = next((choice for choice in choices if isinstance(value, str) and plain(choice) == plain(value)), None)
    if match is None:
        near = nearest(value, choices) if isinstance(value, str) else None
        return Problem(path, f"must be one of {', '.join(choices[:60])}, not {shown(value)}", near)
    if by_index:
        return list(choices).index(match)
    return [match] if several else match


def _axes(
    rows: Sequence[Mapping[str, Any]],
    values: list[Any],
    places: Sequence[str],
    known: Mapping[str, Sequence[str]],
) -> list[Problem]:
    """Settle the axes of x/y/z plot: which input each reads, and how many cells they make together."""
    text_input = next((i for i, row in enumerate(rows) if row.get("label") == _TEXT_INPUT), None)
    cells = 1
    for number, _ in enumerate(_AXES):
        kind, text, listed = values[3 * number : 3 * number + 3]
        if kind == 0:
            continue
        if isinstance(listed, list) and listed:
            # As text, the way that every axis can read.
            values[3 * number + 1] = text = xyz_plot.joined(listed)
            values[3 * number + 2] = []
        if not isinstance(text, str) or not text.strip():
            return [Problem(places[3 * number + 1], f"is missing: what {_AXES[number]} goes through")]
        choices = rows[3 * number].get("choices") or ()
        label = str(choices[kind]) if kind < len(choices) else ""
        values[3 * number + 1], problems = xyz_plot.settled(label, text, known, places[3 * number + 1])
        if problems:
            return problems
        cells *= _count(text)
    if cells > MOST_CELLS:
        return [Problem(places[1], f"makes {cells} cells with the other axes; at most {MOST_CELLS} are allowed")]
    if text_input is not None:
        values[text_input] = True
    return []


def plotted(entry: Mapping[str, Any], values: Sequence[Any]) -> list[tuple[str, list[str]]]:
    """Return label and values of each axis that an x/y/z plot with these arguments goes through."""
    choices = (entry.get("args") or [{}])[0].get("choices") or ()
    used = [(values[3 * number], str(values[3 * number + 1])) for number, _ in enumerate(_AXES)]
    return [(str(choices[kind]), xyz_plot.values_of(text)) for kind, text in used if 0 < kind < len(choices)]


def _count(text: str) -> int:
    """Return how many values the text of an axis means: ``1, 2, 5-9, 1-10(+3), 1-10[4]``."""
    total = 0
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            total += 1
        elif match[4]:
            total += int(match[4])
        else:
            step = abs(int(match[3] or 1)) or 1
            total += abs(int(match[2]) - int(match[1])) // step + 1
    return total


def beyond(
    name: str, args: Sequence[Any], *, prompt: str, negative: str, loras: Sequence[str], each: int, path: str
) -> list[Problem]:
    """Return the problems with what a script makes of its texts: too many pictures, LoRAs that are not there.

    Prompt matrix makes every combination of the parts between ``|``, prompts from file one picture per line, a plot one
    per cell; all of the job's batches each, but for the matrix. Source: `scripts/prompt_matrix.py`,
    `scripts/prompts_from_file.py` and `scripts/xyz_grid.py` of A1111 v1.10.1.
    """
    lines: list[str] = []
    if name == MATRIX:
        parts = (negative if "negative" in args else prompt).count("|")
        count, each = 2 ** min(parts, _MANY_PARTS), 1  # it has batches of its own
    elif name == FROM_FILE:
        texts = [text for text in args if isinstance(text, str) and text not in _PLACES]
        lines = [line for text in texts for line in text.splitlines() if line.strip()]
        if not lines:
            return [Problem(path, "has no line with a prompt, so there is nothing to make")]
        count = len(lines)
    elif name == XYZ:
        count = cells(args)
    else:
        return []
    if count * each > MOST_CELLS:
        return [Problem(path, f"makes {count * each} pictures; at most {MOST_CELLS} are allowed")]
    return xyz_plot.unknown_tags(lines, loras, path)


def overlapping(name: str, args: Sequence[Any], tile: Size, path: str) -> list[Problem]:
    """Return the problem with tiles that overlap by all that they measure: the WebUI divides by what is left of them.

    `tile` is what the job's width and height are to such a script.
    """
    place = _OVERLAPS.get(name)
    if place is None or args[place] < min(tile.width, tile.height):
        return []
    return [Problem(path, f"makes tiles of {tile.width}x{tile.height} overlap by {args[place]}; it must be less")]


def cells(values: Sequence[Any]) -> int:
    """Return how many cells an x/y/z plot with these arguments has."""
    total = 1
    for number, _ in enumerate(_AXES):
        if values[3 * number] != 0:
            total *= _count(str(values[3 * number + 1]))
    return total
