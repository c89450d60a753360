"""``worker bridge``: A1111's and OpenAI's API on this computer, forwarded to an endpoint elsewhere."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from worker.bridge.bridge_server import Bridge
from worker.bridge.endpoint_gateway import GIVE_UP_S, QueuePatience
from worker.bridge.listing_cache import ListingsUnreadable
from worker.client import AsyncEndpoint, EndpointError
from worker.client.endpoint import key_name
from worker.serving.http_api.listener import listen, listening_problem
from worker.serving.http_api.start_page import server_address
from worker.telemetry import logs

HOST = "127.0.0.1"
FOLDER = "a1111-bridge"

app = typer.Typer(add_completion=False)


@app.command()
def bridge(
    *,
    endpoint: Annotated[str, typer.Option(metavar="WHERE", help="RunPod endpoint id, or a worker's URL.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1; 7860 is the WebUI's own.")] = 7860,
    listings: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where listings are kept between runs; default: in the user's folder."),
    ] = None,
    prime: Annotated[bool, typer.Option(help="Ask for all listings now, which wakes the endpoint once.")] = False,
    origin: Annotated[
        list[str] | None, typer.Option(help="A web page elsewhere that may use the bridge: https://host. Repeatable.")
    ] = None,
    patience: Annotated[
        float, typer.Option(metavar="S", min=1, help="Give a job up that no worker takes within this many seconds.")
    ] = GIVE_UP_S,
) -> None:
    """Let programs on this computer use an endpoint as if it were a WebUI, or OpenAI's image API.

    A1111's API is at http://127.0.0.1:PORT, OpenAI's at http://127.0.0.1:PORT/v1 (any key). The endpoint's key is read
    from RUNPOD_API_KEY, for a worker's own URL from HTTP_API_KEY, and stays here. Listings of models and the like are
    kept, so that opening a program wakes no GPU. Runs until Ctrl-C.
    """
    logs.configure(level="info", json=not sys.stderr.isatty())
    log = logs.get_logger("bridge")
    variable = key_name(endpoint)
    file = listings if listings is not None else _default_file(endpoint)
    try:
        client = AsyncEndpoint(endpoint, api_key=os.environ.get(variable))
    except EndpointError as error:
        raise typer.BadParameter(f"--endpoint, {variable}: {error}") from error
    try:
        listener = listen(HOST, port)
    except OSError as error:
        raise typer.BadParameter(f"--port {port} can't be listened on: {listening_problem(error)}") from error

    async def serve() -> None:
        made = Bridge(client, file, QueuePatience(give_up_s=patience), origin or ())
        address = server_address(HOST, port)
        log.info("bridge", endpoint=client.sync.url, webui=address, openai=f"{address}/v1")
        await made.run(listener, prime=prime)

    try:
        asyncio.run(serve())
    except ListingsUnreadable as error:
        raise typer.BadParameter(f"--listings: {error}") from error


def _default_file(endpoint: str) -> Path:
    """Return the file of an endpoint's listings."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "_", endpoint).strip("_")
    return Path(typer.get_app_dir(FOLDER)) / f"{name}.json"
