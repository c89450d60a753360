"""The option ``--endpoint`` of the commands that send jobs."""

from __future__ import annotations

import os

import typer

from worker.client import Endpoint, EndpointError
from worker.client.endpoint import key_name

LOCAL = "local"
"""Names a worker in the command's own process."""


def named_endpoint(where: str) -> Endpoint:
    """Return the endpoint that the option names, with its key from the environment.

    Raises:
        typer.BadParameter: neither an endpoint's id nor an address, or a key that no header can carry.
    """
    variable = key_name(where)
    try:
        return Endpoint(where, api_key=os.environ.get(variable))
    except EndpointError as error:
        raise typer.BadParameter(f"--endpoint, {variable}: {error}") from error
