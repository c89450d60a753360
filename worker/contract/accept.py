"""A job's input in any accepted form to a typed job, and our answer back in the client's form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from worker.contract.base.json_guard import problems_of
from worker.contract.base.limits import Limits
from worker.contract.base.neutral import without_empty
from worker.contract.base.paths import as_written
from worker.contract.compat import diffusers, model_cache, webui_api, webui_body
from worker.contract.operator.presets import dress
from worker.contract.parse.job_parser import parse_job
from worker.contract.types.job import Job
from worker.contract.types.kinds import Validate, WebUIGet
from worker.errors import ClientError, InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.contract.operator.presets import Preset
    from worker.contract.parse.unknown_fields import UnknownFields

Form = Literal["native", "a1111", "cached", "api", "diffusers"]
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
    _written: Mapping[str, str] = field(default_factory=dict, repr=False)
    preset: Mapping[str, Any] = field(default_factory=dict)
    """Fields that presets added or changed."""

    def placed(self, error: InvalidInput) -> InvalidInput:
        """Return `error`, found after accepting, with its paths as this form's client wrote them."""
        if self._call is not None:
            return _prefixed(error)
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
        return dict(answer)


def accept(
    raw: object,
    *,
    limits: Limits | None = None,
    presets: Mapping[str, Preset] | None = None,
    bare_form: Literal["native", "a1111"] = "native",
    unknown_fields: UnknownFields | Literal["auto"] = "auto",
) -> Accepted:
    """Return the job in `raw`, whatever its form, with the presets that it names applied.

    Args:
        raw: A job's input.
        limits: What it may ask for.
        presets: The operator's, by name.
        bare_form: Shape of the answer to a body with no other fields than the WebUI's own.
        unknown_fields: What becomes of a field with a value that nobody reads; auto: it is refused, but ignored with a
            warning in a request to the WebUI's own API, as the WebUI does.

    Raises:
        InvalidInput: lists every mistake, each with its path as the client wrote it; `partial` is the rest as Accepted.
    """
    limits = limits or Limits()
    unknown: UnknownFields = "refuse" if unknown_fields == "auto" else unknown_fields
    if not isinstance(raw, dict) or problems_of(raw, limits):
        return Accepted(parse_job(raw, limits=limits), "native")
    if webui_api.matches(raw):
        accepted = _api(raw, limits, "warn" if unknown_fields == "auto" else unknown_fields)
    elif raw.get("preset"):
        accepted = _dressed(without_empty(raw).fields, limits, presets or {}, unknown)
    else:
        accepted = _formed(raw, limits, unknown, guarded=True)
        if accepted.form == "native" != bare_form and webui_body.is_bare(raw):
            accepted = replace(accepted, form=bare_form)
    if isinstance(accepted.job, Validate):
        try:
            accept(accepted.job.job, limits=limits, presets=presets, unknown_fields=unknown_fields)
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


def _dressed(raw: dict[str, Any], limits: Limits, presets: Mapping[str, Preset], unknown: UnknownFields) -> Accepted:
    call = diffusers.to_job(raw) if diffusers.matches(raw) else None
    dressed = dress(raw if call is None else call.fields, presets)
    if dressed.problems:
        written = {} if call is None else call.written
        raise InvalidInput([_moved(problem, as_written(problem.path, written)) for problem in dressed.problems])
    if call is not None:
        accepted = _translated(replace(call, fields=dressed.fields), limits, unknown)
    else:
        accepted = _formed(dressed.fields, limits, unknown)
    accepted.job.remember(warnings=dressed.warnings, written={})
    return replace(accepted, preset=dressed.applied)


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
    if call.fields is not None and call.fields.get("preset"):
        raise InvalidInput.at("payload.preset", "is not a field of the WebUI's API; send the job itself as the input")
    return _parsed(call.fields, limits, _Shell("api", call), unknown)


@dataclass(frozen=True, slots=True)
class _Shell:
    """The frame that a client's form puts around a job."""

    form: Form
    call: webui_api.Call | None = None
    written: Mapping[str, str] = field(default_factory=dict)

    def around(self, job: Job) -> Accepted:
        """Return `job` in this form."""
        return Accepted(job, self.form, self.call, self.written)


def _parsed(raw: object, limits: Limits, shell: _Shell, unknown: UnknownFields, *, guarded: bool = False) -> Accepted:
    """Return the job in `raw`; its mistakes, and what can be read beside them, are placed as the form has them."""
    try:
        return shell.around(parse_job(raw, limits=limits, guarded=guarded, unknown=unknown))
    except InvalidInput as error:
        if error.partial is None:
            placed = Accepted(Job(), shell.form, shell.call, shell.written).placed(error)
            raise placed from None
        rest = shell.around(cast("Job", error.partial))
        raise InvalidInput(rest.placed(error).problems, hint=error.hint, partial=rest) from None


def _prefixed(error: InvalidInput) -> InvalidInput:
    moved = [p if p.path.startswith("api.") else _moved(p, f"payload.{p.path}") for p in error.problems]
    return InvalidInput(moved, hint=error.hint)


def _moved(problem: Problem, path: str) -> Problem:
    return Problem(path.rstrip("."), problem.message, problem.suggestion)
