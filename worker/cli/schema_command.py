"""``worker schema``: the job contract as JSON Schema or OpenAPI."""

from __future__ import annotations

from typing import Annotated

import typer

from worker.cli.printing import write_json
from worker.contract.openapi import openapi as openapi_document
from worker.contract.schema import schema as json_schema

app = typer.Typer(add_completion=False)


@app.command()
def schema(
    *, openapi: Annotated[bool, typer.Option("--openapi", help="The endpoint as an OpenAPI document instead.")] = False
) -> None:
    """Print the contract of a job and its answers as JSON Schema."""
    from worker.jobs.kinds import dispatch  # noqa: F401, PLC0415 - its kinds are a part of the contract

    write_json(openapi_document() if openapi else json_schema())
