"""From pydantic's errors to problems in the client's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from worker.contract.base.aliases import FOREIGN_NAMES
from worker.contract.base.json_guard import shown
from worker.contract.base.paths import root_of
from worker.contract.types.controlnet import OLD_NAMES
from worker.contract.types.kinds import KINDS
from worker.errors import Problem
from worker.suggestions import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from worker.contract.base.limits import Limits

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
_GUESSED = 8
"""Unknown fields that get a suggestion; a job with more of them is not a typing mistake."""


def problems_in(
    errors: Sequence[ErrorDetails], model: type[BaseModel], fields: Mapping[str, Any], kind: str
) -> Iterator[Problem]:
    """Yield a problem per mistake that pydantic found in `fields`; of the branches of a union only the first speaks."""
    seen: set[str] = set()
    for error in errors:
        path = _path(error["loc"], fields)
        if path in seen:
            continue
        seen.add(path)
        if error["type"] == "extra_forbidden":
            name = str(error["loc"][-1])
            yield _unknown(path, name, _names_at(model, error["loc"][:-1]), kind, few=len(seen) <= _GUESSED)
        else:
            yield Problem(path, *_words(error))


def in_order(problems: Sequence[Problem], raw: Mapping[str, Any], limits: Limits) -> list[Problem]:
    """Return `problems` in the order in which the client wrote the fields, missing ones first, no more than allowed."""
    places = {name: place for place, name in enumerate(raw)}
    found = sorted(problems, key=lambda problem: places.get(root_of(problem.path), -1))
    if len(found) <= limits.max_problems:
        return found
    rest = len(found) - limits.max_problems
    return [*found[: limits.max_problems], Problem("", f"{rest} more mistakes are not listed")]


def _path(loc: tuple[int | str, ...], fields: object) -> str:
    """Return `loc` as the client would write it, without pydantic's own marks (names of validators and of types)."""
    path = ""
    value = fields
    for index, step in enumerate(loc):
        if isinstance(step, int):
            path += f"[{step}]"
            value = value[step] if isinstance(value, list) and step < len(value) else None
        elif isinstance(value, dict) and (step in value or index == len(loc) - 1):
            name = step if step in value else _other_name(step, value)
            path += f".{name}" if path else name
            value = value.get(name)
    return path


def _other_name(name: str, value: Mapping[str, Any]) -> str:
    """Return the name under which a unit of an extension has the field `name`."""
    for other in (f"ad_{name}", *(old for old, new in OLD_NAMES.items() if new == name)):
        if other in value:
            return other
    return name


def _names_at(model: type[BaseModel], loc: Sequence[int | str]) -> list[str]:
    """Return the names of the fields that the object at `loc` can have."""
    for step in loc:
        if isinstance(step, str) and step in model.model_fields:
            inner = model_in(model.model_fields[step].annotation)
            if inner is not None:
                model = inner
    return [_client_name(name, field) for name, field in model.model_fields.items()]


def _client_name(name: str, field: FieldInfo) -> str:
    """Return the name by which clients send a field."""
    return field.validation_alias if isinstance(field.validation_alias, str) else name


def model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the pydantic model inside `annotation`: itself, or that of an optional, a list or an annotated type."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in get_args(annotation):
        found = model_in(part)
        if found is not None:
            return found
    return None


def _unknown(path: str, name: str, names: Sequence[str], kind: str, *, few: bool) -> Problem:
    """Return the problem of a field that does not exist here: whose it is, or which one was probably meant."""
    meant = FOREIGN_NAMES.get(name.lower()) if path == name else None
    if meant is not None and meant.partition(".")[0] in names:
        return Problem(path, "is not a field", meant)
    if path == name:
        owners = [other for other, model in KINDS.items() if name in model.model_fields]
        if owners:
            return Problem(path, f"is a field of {', '.join(owners)}; this job is {kind}", meant)
        if meant is not None and any(meant.partition(".")[0] in model.model_fields for model in KINDS.values()):
            return Problem(path, "is not a field", meant)
    return Problem(path, "is not a field", nearest(name, names) if few else None)


def _words(error: ErrorDetails) -> tuple[str, str | None]:
    """Return message and suggestion for one of pydantic's errors."""
    context = error.get("ctx", {})
    if error["type"] == "mistake":
        suggestion = context.get("suggestion")
        return str(context["message"]), None if suggestion is None else str(suggestion)
    return _message(error["type"], context, error), None


def _message(kind: str, context: Mapping[str, Any], error: ErrorDetails) -> str:
    given = shown(error["input"])
    expected = _EXPECTED.get(kind)
    if kind == "model_type" and str(context.get("class_name", "")).endswith("Ref"):
        expected = "a name or an object with name or url"
    message = error["msg"]
    special = {
        "missing": "is missing",
        "value_error": str(context.get("error", message)),
        "too_long": f"has {context.get('actual_length')} entries; at most {context.get('max_length')} are allowed",
        "too_short": f"has {context.get('actual_length')} entries; at least {context.get('min_length')} is needed",
    }
    if expected is not None:
        return f"must be {expected}, not {given}"
    return special.get(kind, f"{message[:1].lower()}{message[1:]}, not {given}")
