"""The contract as JSON Schema and as tables for the docs, made from the types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from worker.contract.answers import ANSWERS
from worker.contract.parse.validation_errors import model_in
from worker.contract.types.job import Generation, Job
from worker.contract.types.kinds import KINDS
from worker.contract.workflow_answers import WORKFLOW_ANSWERS
from worker.errors import all_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pydantic import BaseModel

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NOTES = ("group", "plain")
_REF = "#/$defs/{model}"


def schema() -> dict[str, Any]:
    """Return one JSON Schema document: a job (`#`), its answer (`#/$defs/JobAnswer`) and its error answer."""
    kinds = list(KINDS.values())
    refs, bundle = models_json_schema([(kind, "validation") for kind in kinds], ref_template=_REF)
    definitions: dict[str, Any] = dict(bundle.get("$defs", {}))
    for answer in (*ANSWERS, *WORKFLOW_ANSWERS):
        part = TypeAdapter(answer).json_schema(ref_template=_REF)
        definitions.update(part.pop("$defs", {}))
        definitions[answer.__name__] = part
    codes = [error.code for error in all_errors()]
    definitions["ErrorAnswer"]["properties"]["error_code"] = {"type": "string", "enum": codes}
    jobs = [refs[(kind, "validation")] for kind in kinds]
    document = {
        "$schema": _DIALECT,
        "title": "A job's input",
        **(jobs[0] if len(jobs) == 1 else {"anyOf": jobs}),
        "$defs": dict(sorted(definitions.items())),
    }
    cleaned: dict[str, Any] = _without_notes(document)
    return cleaned


def fields_table(model: type[BaseModel], *, without: Collection[str] = ()) -> str:
    """Return a Markdown table of the fields of `model` but `without`: name, type, range, meaning."""
    described = model.model_json_schema(mode="validation")
    properties = described.get("properties") or described["anyOf"][-1]["properties"]
    lines = ["| field | type | allowed | meaning |", "|---|---|---|---|"]
    for name, field in properties.items():
        if name in without:
            continue
        form, allowed = _form(field)
        about = field.get("description") or (model.model_fields[name].description if name in model.model_fields else "")
        lines.append(f"| `{name}` | {form} | {allowed} | {about} |")
    return "\n".join(lines) + "\n"


def parts() -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield `(field, type)` of the objects inside jobs, each once, in the order in which the kinds name them."""
    seen: set[type[BaseModel]] = set()
    pending: list[tuple[str, type[BaseModel]]] = list(KINDS.items())
    while pending:
        _, model = pending.pop(0)
        for name, field in model.model_fields.items():
            inner = model_in(field.annotation)
            if inner is not None and inner not in seen:
                seen.add(inner)
                pending.append((name, inner))
                yield name, inner


def tables() -> Iterator[tuple[str, str]]:
    """Yield `(title, Markdown table)`: of every job, of every generation, of each kind alone, of objects inside."""
    yield "job", fields_table(Job)
    yield "generation", fields_table(Generation, without=Job.model_fields)
    for name, kind in KINDS.items():
        tabled: list[type[Job]] = [base for base in (Job, Generation, *KINDS.values()) if base in kind.__mro__[1:]]
        inherited = {field for base in tabled for field in base.model_fields}
        yield name, fields_table(kind, without=inherited - {"type"})
    for name, part in parts():
        yield name, fields_table(part)


def _form(field: dict[str, Any]) -> tuple[str, str]:
    """Return the type and what is allowed, in a few words."""
    options = [part for part in field.get("anyOf", [field]) if part.get("type") != "null"]
    part = options[0] if options else field
    if "$ref" in part:
        return str(part["$ref"]).rpartition("/")[2], ""
    form = str(part.get("type", "any"))
    allowed = ""
    if "enum" in part or "const" in part:
        allowed = ", ".join(f"`{word}`" for word in part.get("enum", [part.get("const")]))
    elif "minimum" in part:
        allowed = f"{part['minimum']:.10g} to {part['maximum']}"
        allowed += f", multiple of {part['multipleOf']}" if "multipleOf" in part else ""
    elif form == "array":
        inner, _ = _form(part.get("items", {}))
        form = f"list of {inner}"
        allowed = f"at most {part['maxItems']}" if "maxItems" in part else ""
    elif "maxLength" in part:
        allowed = f"at most {part['maxLength']} characters"
    return {"string": "text", "boolean": "true or false"}.get(form, form), allowed


def _without_notes(value: Any) -> Any:
    """Return `value` without the marks that fields carry for our own use."""
    if isinstance(value, dict):
        return {
            key: _without_notes(part)
            for key, part in value.items()
            if not (key in _NOTES and isinstance(part, (str, bool)))
        }
    if isinstance(value, list):
        return [_without_notes(part) for part in value]
    return value
