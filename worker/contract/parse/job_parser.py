"""From what a client sent to a typed job, or to every mistake in it at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from worker.common.suggestions import nearest
from worker.contract.base.aliases import FOREIGN_NAMES
from worker.contract.base.json_guard import problems_of, shown, word
from worker.contract.base.limits import Limits
from worker.contract.base.paths import as_written, root_of
from worker.contract.expand.loopback import as_workflow, loop_problems
from worker.contract.parse.alwayson_scripts import SCRIPT_FIELDS, read_scripts
from worker.contract.parse.normalise import Normal, normalise
from worker.contract.parse.placeholders import replace_placeholders
from worker.contract.parse.plot_cells import PlotCell, plot_cells
from worker.contract.parse.switched_off import leave_out
from worker.contract.parse.unknown_fields import UnknownFieldReport, UnknownFields
from worker.contract.parse.validation_errors import in_order, problems_in, steps_of, unknown_fields, without
from worker.contract.rules.field_rules import problems_between, warnings_between
from worker.contract.types import adetailer, controlnet
from worker.contract.types.job import Generation
from worker.contract.types.kinds import KINDS, TYPE_WORDS, UPSCALE_WORDS, Img2Img, Upscale, infer
from worker.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from pydantic_core import ErrorDetails

    from worker.contract.parse.validation_errors import UnknownField
    from worker.contract.types.job import Job

_MOST_PASSES = 20
"""Unknown fields hide the mistakes of the object that they stand in, so a job is looked at more than once."""
_LONGEST_TEXT = 1_000_000
_JOB_FIELDS = ("prompt", "prompts", "type", "init_images", "image", "api", "action")
_AMBIGUOUS = "is needed: a picture alone may be meant for upscale, interrogate or png_info"


def parse_job(
    raw: object,
    *,
    limits: Limits | None = None,
    guarded: bool = False,
    unknown: UnknownFields = "refuse",
    empty: Iterable[str] = (),
) -> Job:
    """Return the job in `raw` (a job's `input`, parsed JSON): an instance of one of `kinds.KINDS`.

    Args:
        raw: What was sent.
        limits: What it may ask for.
        guarded: It was found to be plain JSON of a bearable size before.
        unknown: What becomes of a field with a value that nobody reads.
        empty: Names of fields that said nothing and have been taken out of `raw`.

    Raises:
        InvalidInput: lists every mistake, each with its path as the client wrote it; its `partial` is the job without
            the fields that are wrong, where that is one.
    """
    limits = limits or Limits()
    if not isinstance(raw, dict):
        inner = _in_text(raw)
        if inner is None:
            raise InvalidInput.at("", f"the input must be an object with a prompt, not {shown(raw)}")
        raise InvalidInput(_wrapped("", "the input is a text that holds JSON; send the object itself", inner, limits))
    if not guarded and (guard := problems_of(raw, limits)):
        raise InvalidInput(guard)
    doubled = _in_second_input(raw)
    if doubled is not None:
        message = "is wrapped twice: the job is inside input.input; send that as the input"
        raise InvalidInput(_wrapped("input", message, doubled, limits))
    job, problems = _read(raw, limits, unknown, empty)
    if problems or job is None:
        raise InvalidInput(in_order(problems, raw, limits), partial=job)
    return job


def _in_text(raw: object) -> dict[str, Any] | None:
    """Return the object that `raw` is the JSON of, None where it is no such text."""
    if not isinstance(raw, str) or len(raw) > _LONGEST_TEXT or not raw.lstrip().startswith("{"):
        return None
    try:
        inner = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return inner if isinstance(inner, dict) else None


def _in_second_input(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the object in the `input` of `raw`, None where `raw` is a job itself."""
    inner = raw.get("input")
    return inner if isinstance(inner, dict) and not any(name in raw for name in _JOB_FIELDS) else None


def cells_of(job: Generation, limits: Limits) -> list[PlotCell]:
    """Return the plain jobs of a plot in the order in which they are made.

    Raises:
        InvalidInput: lists every mistake in the axes and in what they make of the job.
    """
    cells, problems = plot_cells(job, _cell_reader(job, limits), limits)
    if problems:
        raise InvalidInput(problems)
    return cells


def _cell_reader(job: Generation, limits: Limits) -> Callable[[Mapping[str, Any]], Job]:
    return lambda fields: parse_job({**fields, "type": job.kind}, limits=limits, guarded=True)


def _wrapped(path: str, message: str, inner: dict[str, Any], limits: Limits) -> list[Problem]:
    """Return the problem of a job that is one layer off, and the mistakes of the job itself."""
    found = problems_of(inner, limits)
    if not found:
        found = _read(inner, limits, "refuse")[1]
    below = f"{path}." if path else ""
    inside = [Problem(f"{below}{problem.path}".rstrip("."), problem.message, problem.suggestion) for problem in found]
    return [Problem(path, message), *inside]


def _read(
    raw: dict[str, Any], limits: Limits, unknown: UnknownFields, empty: Iterable[str] = ()
) -> tuple[Job | None, list[Problem]]:
    normal = normalise(raw)
    if not SCRIPT_FIELDS.isdisjoint(normal.fields):
        read_scripts(normal, unknown)
    _note_unit_names(normal)
    kind = _kind(normal)
    if kind is None:
        return None, normal.problems
    leave_out(normal, kind)
    replace_placeholders(normal, raw)
    _for_kind(normal, kind)
    problems = normal.problems
    model = KINDS[kind]
    report = UnknownFieldReport(unknown)
    if nothing := [*empty, *normal.empty]:
        report.add_empty(nothing)
    job, found = _validated(model, normal, report, kind)
    found = report.not_caused_by_them(found) if found else found
    problems.extend((*report.problems, *(_elsewhere(problem, normal.written) for problem in found)))
    if job is not None:
        between = [_elsewhere(problem, normal.written) for problem in problems_between(job, limits)]
        if between and not found:
            problems.extend(report.not_caused_by_them(between))
        told = [*normal.warnings, *report.warnings(), *warnings_between(job)]
        if isinstance(job, Generation) and job.plot is not None and not problems:
            cells, wrong = plot_cells(job, _cell_reader(job, limits), limits)
            problems.extend(_elsewhere(problem, normal.written) for problem in wrong)
            told += [warning for cell in cells for warning in cell.job.warnings]
        job.remember(warnings=list(dict.fromkeys(told)), written=normal.written)
        if normal.loops is not None and isinstance(job, Img2Img):
            problems += [_elsewhere(problem, normal.written) for problem in loop_problems(job, normal.loops, limits)]
            return (job, problems) if problems else (as_workflow(job, normal.loops), [])
    return job, problems


def _validated(
    model: type[Job], normal: Normal, report: UnknownFieldReport, kind: str
) -> tuple[Job | None, list[Problem]]:
    """Return the job, without the fields that are unknown or wrong, and the problems of those that are wrong.

    There is no job where a field that it can't be without is missing or wrong.
    """
    fields = normal.fields
    problems: list[Problem] = []
    for _ in range(_MOST_PASSES):
        try:
            return model.model_validate(fields), problems
        except ValidationError as error:
            errors = error.errors(include_url=False)
        unknown = unknown_fields(errors, model, fields)
        for each in unknown:
            report.add(each, as_written(each.path, normal.written), kind, fields)
            problems.extend(_inside(each, model, fields))
        if unknown:
            fields = without(fields, [each.steps for each in unknown])
            continue
        known = {root_of(problem.path) for problem in problems}
        problems.extend(problem for problem in problems_in(errors, fields) if root_of(problem.path) not in known)
        left = _without_wrong(fields, errors, known)
        if left == fields:
            return None, problems
        fields = left
    return None, problems


def _without_wrong(fields: dict[str, Any], errors: Sequence[ErrorDetails], known: Collection[str]) -> dict[str, Any]:
    """Return `fields` without what is wrong: no more than a field of a unit, or all of the unit's list at `known`."""
    left = fields
    for error in errors:
        steps = steps_of(error["loc"], left)
        if not steps or steps[0] not in left:
            continue
        inner = len(steps) > 1 and isinstance(steps[-1], str) and steps[0] not in known and error["type"] != "missing"
        left = without(left, [steps if inner else steps[:1]])
    return left


def _inside(unknown: UnknownField, model: type[Job], fields: dict[str, Any]) -> Iterator[Problem]:
    """Yield the mistakes inside a field that has another program's name for one of ours, so that all come at once."""
    meant = FOREIGN_NAMES.get(unknown.name.lower())
    is_ours = len(unknown.steps) == 1 and meant in model.model_fields and meant not in fields
    if meant is None or not is_ours or not isinstance(unknown.value, list):
        return
    report = UnknownFieldReport("refuse")
    try:
        model.model_validate({"prompt": "", meant: unknown.value})
    except ValidationError as error:
        errors = [each for each in error.errors(include_url=False) if each["loc"][:1] == (meant,)]
        given = {meant: unknown.value}
        for each in unknown_fields(errors, model, given):
            report.add(each, unknown.name + each.path.removeprefix(meant), model.kind, given)
    yield from report.problems


_UNITS: dict[str, Callable[[str], str]] = {"controlnet": controlnet.own_name, "adetailer": adetailer.own_name}
"""List of units → our name of a field of one by the client's."""


def _note_unit_names(normal: Normal) -> None:
    """Note where the fields of units stand that have other names with the client."""
    for name, own_name in _UNITS.items():
        units = normal.fields.get(name)
        for index, unit in enumerate(units if isinstance(units, list) else ()):
            place = as_written(f"{name}[{index}]", normal.written)
            for key in unit if isinstance(unit, dict) else ():
                if (own := own_name(key)) != key:
                    normal.written.setdefault(f"{name}[{index}].{own}", f"{place}.{key}")


def _elsewhere(problem: Problem, written: dict[str, str]) -> Problem:
    return Problem(as_written(problem.path, written), problem.message, problem.suggestion)


def _kind(normal: Normal) -> str | None:
    """Return the kind of job, from `type` (or `action`) or else from its fields; note what is wrong with it."""
    if "action" in normal.fields:
        normal.put("type", normal.fields.pop("action"), "action")
    given = normal.fields.get("type")
    if given is None:
        kind = infer(normal.fields)
        if kind is None:
            normal.problems.append(Problem("type", _AMBIGUOUS))
        return kind
    if word(given) in TYPE_WORDS:
        return TYPE_WORDS[word(given)]
    near = nearest(given, TYPE_WORDS) if isinstance(given, str) else None
    message = f"must be one of {', '.join(TYPE_WORDS)}, not {shown(given)}"
    normal.problems.append(Problem(as_written("type", normal.written), message, near))
    del normal.fields["type"]
    return infer(normal.fields) if "prompt" in normal.fields or "init_images" in normal.fields else None


def _for_kind(normal: Normal, kind: str) -> None:
    """Read what has another name in this kind of job, and note what it can't be without."""
    fields = normal.fields
    if KINDS[kind] is Upscale:
        given = UPSCALE_WORDS.keys() & fields.keys()
        for short in given:
            normal.put(UPSCALE_WORDS[short], fields.pop(short), short)
        if given & {"width", "height"}:  # a side that is missing is told in the words of the one that is there
            normal.written = {UPSCALE_WORDS["width"]: "width", UPSCALE_WORDS["height"]: "height", **normal.written}
        sized = "upscaling_resize_w" in fields or "upscaling_resize_h" in fields
        if sized and not {"resize_mode", "upscaling_resize"} & fields.keys():
            fields["resize_mode"] = 1
    told = {"prompt", "styles", "prompts"} & fields.keys() or any(bad.path == "prompt" for bad in normal.problems)
    if kind == "txt2img" and not told:
        normal.problems.append(Problem("prompt", "is missing"))
