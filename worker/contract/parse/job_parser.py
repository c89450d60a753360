"""From what a client sent to a typed job, or to every mistake in it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from worker.contract.base.json_guard import problems_of, shown, word
from worker.contract.base.limits import Limits
from worker.contract.base.paths import as_written
from worker.contract.parse.alwayson_scripts import read_scripts
from worker.contract.parse.normalise import Normal, normalise
from worker.contract.parse.plot_cells import PlotCell, plot_cells
from worker.contract.parse.validation_errors import in_order, problems_in
from worker.contract.rules.field_rules import problems_between, warnings_between
from worker.contract.types.job import Generation
from worker.contract.types.kinds import KINDS, TYPE_WORDS, UPSCALE_WORDS, Img2Img, Upscale, infer
from worker.errors import InvalidInput, Problem
from worker.suggestions import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.contract.types.job import Job

_MASK_ECHO = {
    "mask_blur": 4,
    "mask_blur_x": 4,
    "mask_blur_y": 4,
    "mask_round": True,
    "inpainting_fill": 0,
    "inpaint_full_res": True,
    "inpaint_full_res_padding": 0,
    "inpainting_mask_invert": 0,
}
"""What the WebUI's echo of an img2img request without a mask says about masks; many clients always send it."""
_AMBIGUOUS = "is needed: a picture alone may be meant for upscale, interrogate or png_info"


def parse_job(raw: object, *, limits: Limits | None = None, guarded: bool = False) -> Job:
    """Return the job in `raw` (a job's `input`, parsed JSON): an instance of one of `kinds.KINDS`.

    Args:
        raw: What was sent.
        limits: What it may ask for.
        guarded: It was found to be plain JSON of a bearable size before.

    Raises:
        InvalidInput: lists every mistake, each with its path as the client wrote it.
    """
    limits = limits or Limits()
    if not isinstance(raw, dict):
        raise InvalidInput.at("", f"the input must be an object with a prompt, not {shown(raw)}")
    if not guarded and (guard := problems_of(raw, limits)):
        raise InvalidInput(guard)
    job, problems = _read(raw, limits)
    if problems or job is None:
        raise InvalidInput(in_order(problems, raw, limits))
    return job


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


def _read(raw: dict[str, Any], limits: Limits) -> tuple[Job | None, list[Problem]]:
    normal = normalise(raw)
    read_scripts(normal)
    kind = _kind(normal)
    if kind is None:
        return None, normal.problems
    _for_kind(normal, kind)
    problems = normal.problems
    model = KINDS[kind]
    job: Job | None = None
    try:
        job = model.model_validate(normal.fields)
    except ValidationError as error:
        found = problems_in(error.errors(include_url=False), model, normal.fields, kind)
        problems.extend(_elsewhere(problem, normal.written) for problem in found)
    if job is not None:
        problems.extend(_elsewhere(problem, normal.written) for problem in problems_between(job, limits))
        of_cells: list[str] = []
        if isinstance(job, Generation) and job.plot is not None and not problems:
            cells, wrong = plot_cells(job, _cell_reader(job, limits), limits)
            problems.extend(_elsewhere(problem, normal.written) for problem in wrong)
            of_cells = [warning for cell in cells for warning in cell.job.warnings]
        told = [*normal.warnings, *warnings_between(job), *of_cells]
        job.remember(warnings=list(dict.fromkeys(told)), written=normal.written)
    return job, problems


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


def _is_echo(name: str, value: object) -> bool:
    return name in _MASK_ECHO and type(value) in (int, bool) and value == _MASK_ECHO[name]


def _for_kind(normal: Normal, kind: str) -> None:
    """Read what has another name in this kind of job, and note what it can't be without."""
    fields = normal.fields
    if KINDS[kind] is Upscale:
        for short, name in UPSCALE_WORDS.items():
            if short in fields:
                normal.put(name, fields.pop(short), short)
        sized = "upscaling_resize_w" in fields or "upscaling_resize_h" in fields
        if sized and not {"resize_mode", "upscaling_resize"} & fields.keys():
            fields["resize_mode"] = 1
    if KINDS[kind] is Img2Img:
        normal.fields = fields = {name: value for name, value in fields.items() if not _is_echo(name, value)}
    if issubclass(KINDS[kind], Img2Img) and fields.get("enable_hr") is False:
        del fields["enable_hr"]  # of a body that was written for both; there is no hires fix anyway
    told = {"prompt", "styles", "prompts"} & fields.keys() or any(bad.path == "prompt" for bad in normal.problems)
    if kind == "txt2img" and not told:
        normal.problems.append(Problem("prompt", "is missing"))
