"""The contract as JSON Schema and as tables for the docs, made from the types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from worker.contract.job import Output
from worker.contract.kinds import KINDS
from worker.contract.result import ErrorAnswer, JobAnswer
from worker.errors import all_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NOTES = ("group", "plain")
_REF = "#/$defs/{model}"


def schema() -> dict[str, Any]:
    """Return one JSON Schema document: a job (`#`), its answer (`#/$defs/JobAnswer`) and its error answer."""
    kinds = list(KINDS.values())
    refs, bundle = models_json_schema([(kind, "validation") for kind in kinds], ref_template=_REF)
    definitions: dict[str, Any] = dict(bundle.get("$defs", {}))
    for name, answer in (("JobAnswer", JobAnswer), ("ErrorAnswer", ErrorAnswer)):
        part = TypeAdapter(answer).json_schema(ref_template=_REF)
        definitions.update(part.pop("$defs", {}))
        definitions[name] = part
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


def fields_table(model: type[BaseModel]) -> str:
    """Return a Markdown table of the fields of `model`: name, type, range, meaning."""
    properties = model.model_json_schema(mode="validation").get("properties", {})
    lines = ["| field | type | allowed | meaning |", "|---|---|---|---|"]
    for name, field in properties.items():
        form, allowed = _form(field)
        lines.append(f"| `{name}` | {form} | {allowed} | {model.model_fields[name].description or ''} |")
    return "\n".join(lines) + "\n"


def tables() -> Iterator[tuple[str, str]]:
    """Yield `(title, Markdown table)` for every kind of job and for `output`."""
    for name, kind in KINDS.items():
        yield name, fields_table(kind)
    yield "output", fields_table(Output)


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
        allowed = f"{part['minimum']:g} to {part['maximum']}"
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
