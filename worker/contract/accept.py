"""A job's input in any accepted form to a typed job, and our answer back in the client's form.

The forms of other programs are those of `compat.forms.FORMS`. The way is the same for all: translate, apply presets,
parse, and place every mistake where the client wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from worker.contract.base.json_guard import problems_of
from worker.contract.base.limits import Limits
from worker.contract.base.neutral import without_empty
from worker.contract.base.paths import as_written
from worker.contract.compat.client_form import NATIVE, Cache, Form, Translation
from worker.contract.compat.forms import form_of
from worker.contract.compat.webui_api import without_odd_names
from worker.contract.compat.webui_body import WEBUI_BODY, is_bare
from worker.contract.operator.apply_presets import apply_presets, names_presets
from worker.contract.parse.job_parser import parse_job
from worker.contract.parse.switched_off import without_false
from worker.contract.parse.workflow_parser import is_workflow, parse_workflow
from worker.contract.types.composed.workflow import Continue, Workflow
from worker.contract.types.kinds import Validate, WebUIGet
from worker.errors import ClientError, InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.contract.operator.presets import Preset
    from worker.contract.parse.unknown_fields import UnknownFields
    from worker.contract.parse.workflow_parser import Definition
    from worker.contract.types.job import Job


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job and the form in which its client speaks.

    Attributes:
        job: The job.
        form: The client's form.
        preset: Fields that presets added or changed.
    """

    job: Job
    form: Form = NATIVE
    preset: Mapping[str, Any] = field(default_factory=dict)
    _call: Translation = field(default_factory=Translation, repr=False)

    def inside(self, field: str) -> Accepted:
        """Return the job as the value of `field` of another one."""
        root = f"{field}.{self._call.root}" if self._call.root else field
        return replace(self, _call=replace(self._call, root=root))

    def placed(self, error: InvalidInput) -> InvalidInput:
        """Return `error`, found after accepting, with its paths as this form's client wrote them."""
        return InvalidInput(self._call.placed(error.problems), hint=error.hint)

    def answer(self, answer: Mapping[str, Any], *, cache: Cache | None = None) -> Any:
        """Return our `answer` in the client's form. Errors have one form for all: they are returned as they are."""
        return dict(answer) if "error" in answer else self.form.answer(self._call, answer, cache or Cache())


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
    raw, ignored = (raw, []) if unknown_fields == "refuse" else without_odd_names(raw, limits.max_items)
    if not isinstance(raw, dict) or problems_of(raw, limits):
        return Accepted(parse_job(raw, limits=limits))
    form = NATIVE if is_workflow(raw) else form_of(raw)
    call = form.translate(raw, presets or {})
    call.warnings += ignored
    if call.listing is not None:
        return Accepted(WebUIGet(endpoint=call.listing), form, _call=call)
    unknown = form.unknown_fields if unknown_fields == "auto" else unknown_fields
    call.problems += call.unknown if unknown == "refuse" else ()
    call.warnings += () if unknown == "refuse" else [f"{each.path} is ignored: {each.message}" for each in call.unknown]
    parser = _Parser(limits, unknown, workflows, guarded=raw)
    problems: list[Problem] = []
    try:
        accepted = _parsed(call, form, presets or {}, parser)
    except InvalidInput as error:
        rest = error.partial
        if not isinstance(rest, Accepted) or not isinstance(rest.job, Validate):
            raise
        accepted, problems = rest, error.problems
    if form is NATIVE and bare_form == WEBUI_BODY.name and is_bare(raw):
        accepted = replace(accepted, form=WEBUI_BODY)
    partial: object = accepted
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
            found = inside(error)
            problems, partial = [*problems, *found.problems], found.partial
    if problems:
        raise InvalidInput(problems, partial=partial)
    return accepted


@overload
def inside(error: InvalidInput) -> InvalidInput: ...
@overload
def inside(error: ClientError) -> ClientError: ...
def inside(error: ClientError) -> ClientError:
    """Return `error`, found in the job of a dry run, with its paths as they stand in that."""
    if isinstance(error, InvalidInput):
        rest = error.partial
        partial = rest.inside("job") if isinstance(rest, Accepted) else None
        return InvalidInput(_in_the_job(error.problems), hint=error.hint, partial=partial)
    told = [Problem(**problem) for problem in error.details.get("problems", ())]
    if not told:
        return error
    moved = _in_the_job(told)
    details = {**error.details, "problems": [problem.to_json() for problem in moved]}
    return type(error)("; ".join(map(str, moved)), hint=error.hint, details=details)


@dataclass(frozen=True, slots=True)
class _Parser:
    """The rules by which jobs in our own form are parsed.

    Attributes:
        guarded: An input that was found to be plain JSON of a bearable size before.
    """

    limits: Limits
    unknown: UnknownFields
    workflows: Mapping[str, Definition] | None
    guarded: Mapping[str, Any]

    def parse(self, call: Translation, form: Form) -> Job:
        """Return the job in `call`; a workflow has no other form than ours."""
        fields = call.fields
        if form is NATIVE and is_workflow(fields):
            return parse_workflow(fields, limits=self.limits, named=self.workflows, unknown=self.unknown)
        guarded = fields is self.guarded
        job = parse_job(fields, limits=self.limits, guarded=guarded, unknown=self.unknown, empty=call.empty)
        if isinstance(job, (Workflow, Continue)) and not job.is_planned:
            raise InvalidInput.at("type", f"a {job.kind} is not taken in this form; send it as the input itself")
        return job


def _parsed(call: Translation, form: Form, presets: Mapping[str, Preset], parser: _Parser) -> Accepted:
    """Return the job in `call`; its mistakes, and what can be read beside them, are placed as the form has them."""
    told, bases, applied = list(call.warnings), dict[str, str](), dict[str, Any]()
    if names_presets(call.fields):
        cleaned = without_empty(call.fields)
        result = apply_presets(without_false(cleaned.fields), presets)
        if result.problems:
            raise InvalidInput(call.placed([*call.problems, *result.problems]))
        placed = {name: as_written(place, call.written) for name, place in result.written.items()}
        empty = (*call.empty, *cleaned.empty)
        call = replace(call, fields=result.fields, written={**call.written, **placed}, empty=empty)
        told, bases, applied = [*told, *result.warnings], result.base_models, result.applied

    def around(job: Job) -> Accepted:
        job.remember(warnings=told, written=call.written, base_models=bases, lenient=form.lenient)
        for stage in job.plan if isinstance(job, (Workflow, Continue)) else ():
            stage.job.remember(warnings=(), written={}, base_models=bases, lenient=form.lenient)
        return Accepted(job, form, applied, call)

    try:
        job = parser.parse(call, form)
    except InvalidInput as error:
        rest = None if error.partial is None else around(cast("Job", error.partial))
        raise InvalidInput(call.placed([*call.problems, *error.problems]), hint=error.hint, partial=rest) from None
    if call.problems:
        raise InvalidInput(call.placed(call.problems), partial=around(job))
    return around(job)


def _in_the_job(problems: Sequence[Problem]) -> list[Problem]:
    return [problem.moved(f"job.{problem.path}".rstrip(".")) for problem in problems]
