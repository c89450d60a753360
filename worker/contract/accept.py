"""A job's input in any accepted form to a typed job, and our answer back in the client's form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from worker.contract.base.json_guard import problems_of
from worker.contract.base.limits import Limits
from worker.contract.base.neutral import without_empty
from worker.contract.base.paths import as_written
from worker.contract.compat import diffusers, model_cache, openai, webui_api, webui_body
from worker.contract.operator.apply_presets import FIELDS as PRESET_FIELDS
from worker.contract.operator.apply_presets import apply_presets, names_presets
from worker.contract.parse.job_parser import parse_job
from worker.contract.parse.workflow_parser import is_workflow, parse_workflow
from worker.contract.types.job import Job
from worker.contract.types.kinds import Validate, WebUIGet
from worker.errors import ClientError, InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.operator.apply_presets import PresetResult
    from worker.contract.operator.presets import Preset
    from worker.contract.parse.unknown_fields import UnknownFields
    from worker.contract.parse.workflow_parser import Definition

Form = Literal["native", "a1111", "cached", "api", "diffusers", "openai"]
_COMPAT = (webui_body.COMPAT, diffusers.COMPAT)


@dataclass(frozen=True, slots=True)
class Cache:
    """The contents of the model folders, for the form that reports them: numbers of files, and bytes of all."""

    checkpoints: int = 0
    loras: int = 0
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job and the form in which its client speaks."""

    job: Job
    form: Form
    _call: webui_api.Call | None = field(default=None, repr=False)
    _openai: openai.OpenAICall | None = field(default=None, repr=False)
    _written: Mapping[str, str] = field(default_factory=dict, repr=False)
    preset: Mapping[str, Any] = field(default_factory=dict)
    """Fields that presets added or changed."""

    def with_presets(self, result: PresetResult) -> Accepted:
        """Return it with the remarks of the presets that were applied to it."""
        self.job.remember(warnings=result.warnings, written={}, base_models=result.base_models)
        return replace(self, preset=result.applied, _written={**self._written, **result.written})

    def placed(self, error: InvalidInput) -> InvalidInput:
        """Return `error`, found after accepting, with its paths as this form's client wrote them."""
        if self._call is not None:
            return _prefixed(error)
        if self._openai is not None:
            return InvalidInput(_of_openai(error.problems, self._openai), hint=error.hint)
        if not self._written:
            return error
        moved = [_moved(problem, as_written(problem.path, self._written)) for problem in error.problems]
        return InvalidInput(moved, hint=error.hint)

    def answer(self, answer: Mapping[str, Any], *, cache: Cache | None = None) -> Any:
        """Return our `answer` in the client's form. Errors have one form for all: they are returned as they are."""
        if "error" in answer:
            return dict(answer)
        if self.form == "a1111":
            return webui_body.to_answer(answer)
        if self.form == "cached":
            held = cache or Cache()
            return model_cache.to_answer(
                answer, checkpoints=held.checkpoints, loras=held.loras, size_bytes=held.size_bytes
            )
        if self._call is not None:
            return webui_api.to_answer(self._call, answer)
        if self._openai is not None:
            return openai.to_answer(self._openai, answer)
        return dict(answer)


def accept(
    raw: object,
    *,
    limits: Limits | None = None,
    presets: Mapping[str, Preset] | None = None,
    bare_form: Literal["native", "a1111"] = "native",
    workflows: Mapping[str, Definition] | None = None,
    unknown_fields: UnknownFields | Literal["auto"] = "auto",
) -> Accepted:
    """Return the job in `raw`, whatever its form, with the presets that it names applied.

    Args:
        raw: A job's input.
        limits: What it may ask for.
        presets: The operator's, by name.
        bare_form: Shape of the answer to a body with no other fields than the WebUI's own.
        workflows: The operator's, by name.
        unknown_fields: What becomes of a field with a value that nobody reads; auto: it is refused, but ignored with a
            warning in a request to the WebUI's own API, as the WebUI does.

    Raises:
        InvalidInput: lists every mistake, each with its path as the client wrote it; `partial` is the rest as Accepted.
    """
    limits = limits or Limits()
    unknown: UnknownFields = "refuse" if unknown_fields == "auto" else unknown_fields
    if not isinstance(raw, dict) or problems_of(raw, limits):
        return Accepted(parse_job(raw, limits=limits), "native")
    if openai.matches(raw):
        return _openai(raw, limits, presets or {})
    if webui_api.matches(raw):
        accepted = _api(raw, limits, "warn" if unknown_fields == "auto" else unknown_fields)
    elif names_presets(raw):
        accepted = _with_presets(without_empty(raw).fields, limits, presets or {}, unknown, workflows)
    elif is_workflow(raw):
        accepted = Accepted(parse_workflow(raw, limits=limits, named=workflows, unknown=unknown), "native")
    else:
        accepted = _formed(raw, limits, unknown, guarded=True)
        if accepted.form == "native" != bare_form and webui_body.is_bare(raw):
            accepted = replace(accepted, form=bare_form)
    if isinstance(accepted.job, Validate):
        try:
            accept(
                accepted.job.job,
                limits=limits,
                presets=presets,
                workflows=workflows,
                unknown_fields=unknown_fields,
            )
        except InvalidInput as error:
            raise inside(error) from None
    return accepted


def inside(error: ClientError) -> ClientError:
    """Return `error`, found in the job of a dry run, with its paths as they stand in that."""
    if isinstance(error, InvalidInput):
        return InvalidInput([_moved(problem, f"job.{problem.path}") for problem in error.problems], hint=error.hint)
    told = [Problem(**problem) for problem in error.details.get("problems", ())]
    if not told:
        return error
    moved = [_moved(problem, f"job.{problem.path}") for problem in told]
    details = {**error.details, "problems": [problem.to_json() for problem in moved]}
    return type(error)("; ".join(map(str, moved)), hint=error.hint, details=details)


def _with_presets(
    raw: dict[str, Any],
    limits: Limits,
    presets: Mapping[str, Preset],
    unknown: UnknownFields,
    workflows: Mapping[str, Definition] | None,
) -> Accepted:
    """Return the job in `raw` with the presets that it names, whatever its form."""
    call = diffusers.to_job(raw) if diffusers.matches(raw) else None
    result = apply_presets(raw if call is None else call.fields, presets)
    if result.problems:
        written = {} if call is None else call.written
        raise InvalidInput([_moved(problem, as_written(problem.path, written)) for problem in result.problems])
    try:
        if call is not None:
            accepted = _translated(replace(call, fields=result.fields), limits, unknown)
        elif is_workflow(result.fields):
            job = parse_workflow(result.fields, limits=limits, named=workflows, unknown=unknown)
            accepted = Accepted(job, "native")
        else:
            accepted = _formed(result.fields, limits, unknown)
    except InvalidInput as error:
        placed = [_moved(each, as_written(each.path, result.written)) for each in error.problems]
        raise InvalidInput(placed, hint=error.hint, partial=error.partial) from None
    return accepted.with_presets(result)


def _formed(raw: dict[str, Any], limits: Limits, unknown: UnknownFields, *, guarded: bool = False) -> Accepted:
    if diffusers.matches(raw):
        return _translated(diffusers.to_job(without_empty(raw).fields), limits, unknown)
    if webui_body.matches(raw):
        return _parsed(webui_body.to_job(raw), limits, _Shell("a1111"), unknown)
    if raw.get("compat"):
        raise InvalidInput.at("compat", f"must be one of {', '.join(_COMPAT)}")
    shell = _Shell("cached" if model_cache.matches(raw) else "native")
    return _parsed(raw, limits, shell, unknown, guarded=guarded)


def _translated(call: diffusers.Translation, limits: Limits, unknown: UnknownFields) -> Accepted:
    accepted = _parsed(call.fields, limits, _Shell("diffusers", written=call.written), unknown)
    accepted.job.remember(warnings=call.warnings, written={})
    return accepted


def _api(raw: dict[str, Any], limits: Limits, unknown: UnknownFields) -> Accepted:
    call = webui_api.to_job(raw)
    if call.listing is not None:
        return Accepted(WebUIGet(endpoint=call.listing), "api", call)
    ours = [name for name in PRESET_FIELDS if (call.fields or {}).get(name)]
    if ours:
        message = "is not a field of the WebUI's API; send the job itself as the input"
        raise InvalidInput([Problem(f"payload.{name}", message) for name in ours])
    return _parsed(call.fields, limits, _Shell("api", call), unknown)


@dataclass(frozen=True, slots=True)
class _Shell:
    """The frame that a client's form puts around a job."""

    form: Form
    call: webui_api.Call | None = None
    written: Mapping[str, str] = field(default_factory=dict)

    def around(self, job: Job) -> Accepted:
        """Return `job` in this form."""
        return Accepted(job, self.form, self.call, _written=self.written)


def _parsed(raw: object, limits: Limits, shell: _Shell, unknown: UnknownFields, *, guarded: bool = False) -> Accepted:
    """Return the job in `raw`; its mistakes, and what can be read beside them, are placed as the form has them."""
    try:
        return shell.around(parse_job(raw, limits=limits, guarded=guarded, unknown=unknown))
    except InvalidInput as error:
        if error.partial is None:
            placed = Accepted(Job(), shell.form, shell.call, _written=shell.written).placed(error)
            raise placed from None
        rest = shell.around(cast("Job", error.partial))
        raise InvalidInput(rest.placed(error).problems, hint=error.hint, partial=rest) from None


def _openai(raw: dict[str, Any], limits: Limits, presets: Mapping[str, Preset]) -> Accepted:
    call = openai.to_job(raw, presets)
    if call.fields is None:
        return Accepted(WebUIGet(endpoint=openai.MODELS_LISTING), "openai", _openai=call)
    result = apply_presets(call.fields, presets)
    problems = [*call.problems, *result.problems]
    try:
        job = parse_job(result.fields, limits=limits)
    except InvalidInput as error:
        problems += error.problems
    if problems:
        raise InvalidInput(_of_openai(problems, call))
    job.remember(warnings=call.warnings, written=call.written)
    return Accepted(job, "openai", _openai=call).with_presets(result)


def _of_openai(problems: Sequence[Problem], call: openai.OpenAICall) -> list[Problem]:
    """Return `problems` with their paths as the client of OpenAI's API wrote them, each mistake once."""
    moved = [_moved(problem, f"{openai.INPUT}.{as_written(problem.path, call.written)}") for problem in problems]
    return list(dict.fromkeys(moved))


def _prefixed(error: InvalidInput) -> InvalidInput:
    moved = [p if p.path.startswith("api.") else _moved(p, f"payload.{p.path}") for p in error.problems]
    return InvalidInput(moved, hint=error.hint)


def _moved(problem: Problem, path: str) -> Problem:
    return Problem(path.rstrip("."), problem.message, problem.suggestion)
