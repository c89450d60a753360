from __future__ import annotations

import json
from typing import Any

from worker.contract.schema import fields_table, schema, tables
from worker.contract.types.job import Txt2Img
from worker.errors import all_errors


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return found.union(*(_references(part) for part in value.values()))
    if isinstance(value, list):
        return set().union(*(_references(part) for part in value))
    return set()


def test_every_reference_of_the_schema_resolves() -> None:
    document = schema()
    for reference in _references(document):
        assert reference.removeprefix("#/$defs/") in document["$defs"], reference


def test_the_schema_is_json_and_carries_the_ranges() -> None:
    document = json.loads(json.dumps(schema()))
    steps = document["$defs"]["Txt2Img"]["properties"]["steps"]["anyOf"][0]
    assert (steps["minimum"], steps["maximum"]) == (1, 150)
    assert document["$defs"]["Txt2Img"]["additionalProperties"] is False
    assert "group" not in document["$defs"]["Txt2Img"]["properties"]["steps"]


def test_the_schema_lists_every_error_code() -> None:
    codes = schema()["$defs"]["ErrorAnswer"]["properties"]["error_code"]["enum"]
    assert codes == [error.code for error in all_errors()]


def test_the_table_has_a_row_and_a_meaning_for_every_field() -> None:
    rows = fields_table(Txt2Img).splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(Txt2Img.model_fields)
    assert all(row.split("|")[-2].strip() for row in rows), rows
    assert {title for title, _ in tables()} >= {"txt2img", "output"}
