"""Plans of batches: one job, or a table of jobs, from YAML, JSON, JSON Lines or CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from worker.common.strict_json import RepeatedKey, unique_keys
from worker.common.yaml_text import load_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

ENDINGS = (".yaml", ".yml", ".json", ".jsonl", ".ndjson", ".csv")
KINDS = ("txt2img", "img2img", "inpaint", "outpaint", "upscale", "workflow")
"""Jobs that make pictures; one without a type is a picture from a prompt or from another picture."""

_JSON_CELL = ("[", "{")


class InvalidPlan(Exception):
    """A plan that can't be read, or that a batch can't follow; the message says where and why."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The plan of a batch.

    Attributes:
        jobs: Inputs of jobs.
        is_table: Whether they are rows of a table, each with a seed of its own, rather than one job.
    """

    jobs: Sequence[Mapping[str, Any]]
    is_table: bool = False

    def until(self, stage: str) -> BatchPlan:
        """Return the plan with workflows that end after `stage`.

        Raises:
            InvalidPlan: a job is no workflow.
        """
        for number, job in enumerate(self.jobs, start=1):
            if job.get("type") != "workflow":
                raise InvalidPlan(f"job {number} has no stages that could end after {stage!r}: it is no workflow")
        return BatchPlan([{**job, "until": stage} for job in self.jobs], self.is_table)


def read_plan(path: Path) -> BatchPlan:
    """Return the plan in a file.

    Raises:
        InvalidPlan: it can't be read, or is no plan.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidPlan(f"{path} can't be read: it is no text in UTF-8") from None
    except OSError as error:
        raise InvalidPlan(f"{path} can't be read: {error.strerror}") from error
    return parse_plan(text, path.suffix.lower(), str(path))


def parse_plan(text: str, ending: str, name: str = "the plan") -> BatchPlan:
    """Return the plan in a text.

    Args:
        text: Of the file.
        ending: Of its name; one of `ENDINGS`.
        name: Of the file, for errors.

    Raises:
        InvalidPlan: it is no plan.
    """
    if ending == ".csv":
        return _plan(_csv_rows(text, name), name, is_table=True)
    if ending in (".jsonl", ".ndjson"):
        return _plan(_json_lines(text, name), name, is_table=True)
    if ending not in ENDINGS:
        raise InvalidPlan(f"{name} must end in one of {', '.join(ENDINGS)}")
    try:
        content = json.loads(text, object_pairs_hook=unique_keys) if ending == ".json" else load_yaml(text)
    except json.JSONDecodeError as error:
        raise InvalidPlan(f"{name} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RepeatedKey as error:
        raise InvalidPlan(f"{name}: {error}") from None
    except RecursionError:
        raise InvalidPlan(f"{name} is nested too deeply") from None
    except yaml.YAMLError as error:
        raise InvalidPlan(f"{name} is not YAML: {error}") from None
    is_table = isinstance(content, list)
    return _plan(content if is_table else [content], name, is_table=is_table)


def _plan(jobs: Iterable[object], name: str, *, is_table: bool) -> BatchPlan:
    read = [_job(job, f"{name}, job {number}" if is_table else name) for number, job in enumerate(jobs, start=1)]
    if not read:
        raise InvalidPlan(f"{name} has no jobs")
    return BatchPlan(read, is_table)


def _job(content: object, place: str) -> dict[str, Any]:
    if isinstance(content, dict) and isinstance(content.get("input"), dict):
        content = content["input"]
    if not isinstance(content, dict) or not content:
        raise InvalidPlan(f"{place} must be a job, such as prompt: a lighthouse")
    kind = content.get("type")
    if kind is not None and kind not in KINDS:
        raise InvalidPlan(f"{place}: type must be one of {', '.join(KINDS)}, not {kind!r}")
    try:
        _check_values(content, place, ())
    except RecursionError:
        raise InvalidPlan(f"{place} is nested too deeply") from None
    return {str(field): value for field, value in content.items()}


def _check_values(value: object, place: str, path: tuple[str, ...]) -> None:
    """Raise InvalidPlan for a value that JSON does not have."""
    if isinstance(value, (dict, list)):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            _check_values(part, place, (*path, str(name)))
        return
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidPlan(f"{place}: {'.'.join(path)} must be a finite number, not {value}")
    if not isinstance(value, (str, int, float, type(None))):
        raise InvalidPlan(f"{place}: {'.'.join(path)} is read as a {type(value).__name__}: put it into quotes")


def _csv_rows(text: str, name: str) -> list[dict[str, Any]]:
    """Return the rows with their cells as fields. The worker reads numbers from texts; lists and objects are JSON."""
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    header = reader.fieldnames or ()
    if not header or len(set(header)) != len(header) or not all(field.strip() for field in header):
        raise InvalidPlan(f"{name}: the first line must name the columns, each once, such as prompt,steps,seed")
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise InvalidPlan(f"{name}: the cells must be separated by commas, not as in {header[0]!r}")
    rows = []
    try:
        for cells in reader:
            if None in cells or None in cells.values():
                raise InvalidPlan(
                    f"{name}, line {reader.line_num}: it must have {len(header)} cells; is a comma quoted?"
                )
            row = {
                field.strip(): _cell(cell, f"{name}, line {reader.line_num}, {field}")
                for field, cell in cells.items()
                if cell.strip()
            }
            if row:
                rows.append(row)
    except csv.Error as error:
        raise InvalidPlan(f"{name}, line {reader.line_num}: {error}") from None
    return rows


def _cell(cell: str, place: str) -> Any:
    if place.endswith("prompt") or not cell.lstrip().startswith(_JSON_CELL):
        return cell
    try:
        return json.loads(cell)
    except ValueError:
        raise InvalidPlan(f"{place}: a list or an object must be JSON") from None


def _json_lines(text: str, name: str) -> list[object]:
    jobs: list[object] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                jobs.append(json.loads(line, object_pairs_hook=unique_keys))
            except RepeatedKey as error:
                raise InvalidPlan(f"{name}, line {number}: {error}") from None
            except (ValueError, RecursionError) as error:
                raise InvalidPlan(f"{name}, line {number} is not JSON: {error}") from None
    return jobs
