"""The server's OpenAPI document: FastAPI knows the routes, the contract knows jobs and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from worker import __version__
from worker.contract.openapi import component_schemas

if TYPE_CHECKING:
    from fastapi import FastAPI


def _content(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}


JOB_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": _content("Job")}}
JOB_RESULT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The job's state, and its answer when it is done.", "content": _content("Result")},
    401: {"description": "The key is missing or wrong."},
}


def describe(app: FastAPI) -> None:
    """Give `app` its OpenAPI document, made when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=__version__, description=app.description, routes=app.routes)
            components = made.setdefault("components", {})
            components["schemas"] = {**components.get("schemas", {}), **component_schemas()}
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way
