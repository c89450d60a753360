"""From pydantic's errors to problems in the client's words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

from worker.contract.base.json_guard import shown
from worker.contract.base.paths import root_of
from worker.contract.types import adetailer, controlnet
from worker.contract.types.model_ref import lora_shape
from worker.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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


@dataclass(frozen=True, slots=True)
class UnknownField:
    """A field that its object can't have.

    Attributes:
        steps: Names and places that lead to it, as the client spells them.
        value: Its value.
        names: Fields that the object can have.
    """

    steps: tuple[int | str, ...]
    value: Any
    names: tuple[str, ...]

    @property
    def path(self) -> str:
        """The place of the mistake, as the client would write it."""
        return _joined(self.steps)

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.steps[-1])


def unknown_fields(
    errors: Sequence[ErrorDetails], model: type[BaseModel], fields: Mapping[str, Any]
) -> list[UnknownField]:
    """Return the fields that pydantic did not know."""
    return [
        UnknownField(steps_of(error["loc"], fields), error["input"], _client_names(_model_at(model, error["loc"][:-1])))
        for error in errors
        if error["type"] == "extra_forbidden"
    ]


def without(fields: Mapping[str, Any], places: Iterable[Sequence[int | str]]) -> dict[str, Any]:
    """Return `fields` without those at `places`; an object that holds none of them is not copied."""
    left = dict(fields)
    for steps in places:
        _remove(left, steps)
    return left


def _remove(holder: Any, steps: Sequence[int | str]) -> None:
    at = steps[0]
    if len(steps) == 1:
        holder.pop(at, None)
        return
    if isinstance(holder, dict) and at not in holder:
        return
    holder[at] = holder[at].copy()
    _remove(holder[at], steps[1:])


def problems_in(errors: Sequence[ErrorDetails], fields: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield a problem per mistake that pydantic found in `fields`; of the branches of a union only the first speaks."""
    seen: set[str] = set()
    for error in errors:
        path = _path(error["loc"], fields)
        if path not in seen:
            seen.add(path)
            message, suggestion = _words(error)
            shape = lora_shape(error["input"]) if error["loc"] == ("loras",) else None
            yield Problem(path, message, suggestion or shape)


def in_order(problems: Sequence[Problem], raw: Mapping[str, Any], limits: Limits) -> list[Problem]:
    """Return `problems` in the order in which the client wrote the fields, missing ones first, no more than allowed."""
    places = {name: place for place, name in enumerate(raw)}
    found = sorted(problems, key=lambda problem: places.get(root_of(problem.path), -1))
    if len(found) <= limits.max_problems:
        return found
    rest = len(found) - limits.max_problems
    return [*found[: limits.max_problems], Problem("", f"{rest} more mistakes are not listed")]


def _path(loc: tuple[int | str, ...], fields: object) -> str:
    """Return `loc` as the client would write it."""
    return _joined(steps_of(loc, fields))


def _joined(steps: Iterable[int | str]) -> str:
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else step
    return path


def steps_of(loc: tuple[int | str, ...], fields: object) -> tuple[int | str, ...]:
    """Return `loc` with the client's names and without pydantic's own marks (names of validators and of types)."""
    steps: list[int | str] = []
    value = fields
    for index, step in enumerate(loc):
        if isinstance(step, int):
            steps.append(step)
            value = value[step] if isinstance(value, list) and step < len(value) else None
        elif isinstance(value, dict) and (step in value or index == len(loc) - 1):
            name = step if step in value else _other_name(step, value)
            steps.append(name)
            value = value.get(name)
    return tuple(steps)


def _other_name(name: str, value: Mapping[str, Any]) -> str:
    """Return the name under which a unit of an extension has the field `name`."""
    old_detailer = [old for old, new in adetailer.OLD_NAMES.items() if new == name]
    old_unit = [old for old, new in controlnet.OLD_NAMES.items() if new == name]
    for other in (f"ad_{name}", *(f"ad_{old}" for old in old_detailer), *old_detailer, *old_unit):
        if other in value:
            return other
    return name


def _model_at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel]:
    """Return the model of the object at `loc`."""
    for step in loc:
        if isinstance(step, str) and step in model.model_fields:
            inner = model_in(model.model_fields[step].annotation)
            if inner is not None:
                model = inner
    return model


@cache
def _client_names(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the names by which clients send the fields of a model."""
    return tuple(_client_name(name, field) for name, field in model.model_fields.items())


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
