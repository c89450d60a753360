from __future__ import annotations

import json
from typing import Any

from tools.docs import OPENAPI
from worker.contract.openapi import openapi
from worker.contract.types.kinds import KINDS


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*(references(part) for part in value.values()))
    if isinstance(value, list):
        return set().union(*(references(part) for part in value))
    return set()


def test_every_reference_resolves() -> None:
    document = openapi()
    for reference in references(document):
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"], reference


def test_every_kind_of_job_is_in_it() -> None:
    schemas = openapi()["components"]["schemas"]
    assert {kind.__name__ for kind in KINDS.values()} <= set(schemas)
    assert len(schemas["Input"]["anyOf"]) == len(KINDS)


def test_the_page_in_the_docs_has_not_drifted() -> None:
    assert json.loads(OPENAPI.read_text(encoding="utf-8")) == openapi()
