"""``worker serve``: the worker behind plain HTTP, also on RunPod's load-balancing endpoints."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from worker.common.malloc import return_large_blocks
from worker.errors import BootFailed, WorkerError
from worker.ingress import LOOPBACK, http_settings, is_load_balanced
from worker.serving.http_api.listener import PING_PATH, FirstAnswers, listen
from worker.settings import read_settings
from worker.telemetry import logs, output

if TYPE_CHECKING:
    import socket

    from worker.settings import Settings

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on (HTTP_HOST, default 127.0.0.1).")] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on (HTTP_PORT, default 8000).")
    ] = None,
) -> None:
    """Answer over HTTP: RunPod's paths for jobs, A1111's API, OpenAI's image API. The address itself lists them.

    Runs until SIGTERM or Ctrl-C. Exit code 1 when the worker can't start or its WebUI is gone for good.
    """
    raise typer.Exit(serve_http(host=host, port=port))


def serve_http(*, host: str | None = None, port: int | None = None) -> int:
    """Serve HTTP as the environment says; `host` and `port` count before it. Returns the exit code."""
    return_large_blocks()
    output.unblock_standard_streams()
    logs.configure(level="info", json=not sys.stderr.isatty())
    log = logs.get_logger("serve")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the server has a better answer
    try:
        settings = http_settings(read_settings(os.environ), os.environ, host=host, port=port)
        logs.configure_from(settings, os.environ)
        balanced = is_load_balanced(os.environ)
        if not balanced and settings.http_host not in LOOPBACK and settings.http_api_key is None:
            log.warning("anybody who reaches this port can run jobs; set HTTP_API_KEY", host=settings.http_host)
        listener = _listen(settings)
        with FirstAnswers(listener, frozenset({PING_PATH, settings.health_check_path})):
            log.info("listening; starting the WebUI", host=settings.http_host, port=settings.http_port)
            from worker.cli.http_worker import HttpWorker  # noqa: PLC0415 - not before the port is open

            worker = HttpWorker(settings, os.environ)
            application = worker.build_application()
        return asyncio.run(worker.run(listener, application))
    except WorkerError as error:
        return logs.cannot_start(log, error)


def _listen(settings: Settings) -> socket.socket:
    try:
        return listen(settings.http_host, settings.http_port)
    except OSError as error:
        raise BootFailed(
            f"port {settings.http_port} of {settings.http_host} can't be listened on: {error.strerror}",
            hint="Set HTTP_PORT (on RunPod PORT), or --port, to a free one above 1023.",
        ) from None
