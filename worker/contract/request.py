"""From what a client sent to a typed job, or to every mistake in it at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from worker.contract.foreign import FOREIGN_NAMES
from worker.contract.job import KINDS, Txt2Img
from worker.contract.jsonguard import problems_of, shown
from worker.contract.limits import Limits
from worker.contract.normal import normalise
from worker.contract.rules import problems_between, warnings_between
from worker.contract.suggest import nearest
from worker.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic_core import ErrorDetails

_EXPECTED = {
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "string_type": "text",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
_GUESSED = 20
"""Unknown fields that get a suggestion; a job with more of them is not a typing mistake."""


def parse_job(raw: object, *, limits: Limits | None = None) -> Txt2Img:
    """Return the job in `raw` (a job's `input`, parsed JSON).

    Raises:
        InvalidInput: lists every mistake, each with its path as the client wrote it.
    """
    limits = limits or Limits()
    if not isinstance(raw, dict):
        raise InvalidInput.at("", f"the input must be an object with a prompt, not {shown(raw)}")
    if guard := problems_of(raw, limits):
        raise InvalidInput(guard)
    normal = normalise(raw)
    problems = list(normal.problems)
    kind = _kind(normal.fields.pop("type", None), problems)
    if "prompt" not in raw and not normal.fields.get("styles"):
        problems.append(Problem("prompt", "is missing"))
    job: Txt2Img | None = None
    try:
        job = kind.model_validate(normal.fields)
    except ValidationError as error:
        problems.extend(_problems(error.errors(include_url=False), kind, normal.fields, normal.written))
    if job is not None:
        problems.extend(
            Problem(normal.written.get(problem.path, problem.path), problem.message, problem.suggestion)
            for problem in problems_between(job, limits)
        )
    if problems or job is None:
        raise InvalidInput(_bounded(_in_order(problems, raw), limits))
    job.remember(warnings=[*normal.warnings, *warnings_between(job)], written=normal.written)
    return job


def _kind(given: object, problems: list[Problem]) -> type[Txt2Img]:
    """Return the type for the job's `type`, and note a kind that there is not."""
    if given is None or (isinstance(given, str) and given.strip().lower() in KINDS):
        return Txt2Img
    near = nearest(given, KINDS) if isinstance(given, str) else None
    problems.append(Problem("type", f"must be one of {', '.join(KINDS)}, not {shown(given)}", near))
    return Txt2Img


def _problems(
    errors: Sequence[ErrorDetails], model: type[BaseModel], fields: dict[str, Any], written: dict[str, str]
) -> Iterator[Problem]:
    """Yield a problem per mistake that pydantic found; of the branches of a union only the first speaks."""
    seen: set[str] = set()
    for error in errors:
        path = _path(error["loc"], fields)
        path = written.get(path, path)
        if path in seen:
            continue
        seen.add(path)
        if error["type"] == "extra_forbidden":
            yield _unknown(path, str(error["loc"][-1]), _names_at(model, error["loc"][:-1]), few=len(seen) <= _GUESSED)
        else:
            yield Problem(path, *_words(error))


def _path(loc: tuple[int | str, ...], fields: object) -> str:
    """Return `loc` as the client would write it, without pydantic's own marks (names of validators and of types)."""
    path = ""
    value = fields
    for index, step in enumerate(loc):
        if isinstance(step, int):
            path += f"[{step}]"
            value = value[step] if isinstance(value, list) and step < len(value) else None
        elif isinstance(value, dict) and (step in value or index == len(loc) - 1):
            path += f".{step}" if path else step
            value = value.get(step)
    return path


def _names_at(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Return the names of the fields that the object at `loc` can have."""
    for step in loc:
        if isinstance(step, str) and step in model.model_fields:
            inner = _model_in(model.model_fields[step].annotation)
            if inner is not None:
                model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside `annotation`: itself, or that of an optional, a list or an annotated type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = _model_in(part)
        if found is not None:
            return found
    return None


def _unknown(path: str, name: str, names: Sequence[str], *, few: bool) -> Problem:
    """Return the problem of a field that does not exist, with the one that was probably meant."""
    meant = FOREIGN_NAMES.get(name.lower()) if "." not in path else None
    if meant is not None and meant.partition(".")[0] not in names:
        meant = None
    return Problem(path, "is not a field", meant or (nearest(name, names) if few else None))


def _words(error: ErrorDetails) -> tuple[str, str | None]:
    """Return message and suggestion for one of pydantic's errors."""
    context = error.get("ctx", {})
    kind = error["type"]
    if kind == "mistake":
        suggestion = context.get("suggestion")
        return str(context["message"]), None if suggestion is None else str(suggestion)
    if kind == "model_type" and str(context.get("class_name", "")).endswith("Ref"):
        return f"must be a name or an object with name or url, not {shown(error['input'])}", None
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}, not {shown(error['input'])}", None
    if kind == "value_error":
        return str(context.get("error", error["msg"])), None
    if kind == "too_long":
        return f"has {context.get('actual_length')} entries; at most {context.get('max_length')} are allowed", None
    message = error["msg"]
    return f"{message[:1].lower()}{message[1:]}, not {shown(error['input'])}", None


def _in_order(problems: list[Problem], raw: dict[str, Any]) -> list[Problem]:
    """Return `problems` in the order in which the client wrote the fields; what is missing comes first."""
    places = {name: place for place, name in enumerate(raw)}
    return sorted(problems, key=lambda problem: places.get(re.split(r"[.\[]", problem.path, maxsplit=1)[0], -1))


def _bounded(problems: Sequence[Problem], limits: Limits) -> list[Problem]:
    """Return at most `limits.max_problems` of `problems` and how many more there are."""
    if len(problems) <= limits.max_problems:
        return list(problems)
    rest = len(problems) - limits.max_problems
    return [*problems[: limits.max_problems], Problem("", f"{rest} more mistakes are not listed")]
