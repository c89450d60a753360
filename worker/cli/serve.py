"""``python -m worker serve``: the worker behind plain HTTP."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from worker.allocator import return_large_blocks
from worker.app import Worker
from worker.errors import BootFailed, WorkerError
from worker.settings import Settings, read_settings
from worker.telemetry import logs, output

if TYPE_CHECKING:
    from collections.abc import Mapping

    import uvicorn

    from worker.serving.jobs import Job

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MODULES = ("uvicorn", "starlette.applications", "worker.serving.http", "worker.serving.posting", "worker.serving.life")


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; return 0, 1 when the worker can't start or its WebUI is gone for good."""
    parser = argparse.ArgumentParser(
        prog="python -m worker serve",
        description="Answer jobs over HTTP, on RunPod's paths: /run, /runsync, /status, /stream, /cancel, /health.",
    )
    parser.add_argument("--host", default=None, help="address to listen on (HTTP_HOST, default 127.0.0.1)")
    parser.add_argument("--port", type=int, default=None, help="port to listen on (HTTP_PORT, default 8000)")
    options = parser.parse_args(argv)
    return_large_blocks()
    output.unblock_standard_streams()
    logs.configure(level="info", json=not sys.stderr.isatty())
    log = logs.get_logger("serve")
    host: Worker | None = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the server has a better answer
    try:
        settings = read_settings(os.environ)
        wishes = {"http_host": options.host, "http_port": options.port}
        settings = settings.model_copy(update={name: wish for name, wish in wishes.items() if wish is not None})
        logs.configure_from(settings, os.environ)
        if settings.http_host not in LOOPBACK and settings.http_api_key is None:
            log.warning("anybody who reaches this port can run jobs; set HTTP_API_KEY", host=settings.http_host)
        host = Worker(settings, os.environ)
        host.spawn()
        host.wait_ready(meanwhile=MODULES)
        return asyncio.run(_serve(host, settings))
    except WorkerError as error:
        return logs.cannot_start(log, error)
    finally:
        if host is not None:
            host.close()


async def _serve(host: Worker, settings: Settings) -> int:
    """Take jobs until a signal or the WebUI's end; what runs is finished first."""
    from worker.serving.http import application  # noqa: PLC0415 - as above
    from worker.serving.jobs import Jobs  # noqa: PLC0415 - as above
    from worker.serving.life import Life  # noqa: PLC0415 - as above
    from worker.serving.posting import Webhooks  # noqa: PLC0415 - as above

    life = Life(host, settings)
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret is not None else None
    webhooks = Webhooks(settings.allowed_hosts, secret, now=time.time)

    def over(job: Job) -> None:
        life.streamed.discard(job.id)
        webhooks.post(job.job.get("webhook"), job.id, job.to_json())

    jobs = Jobs(
        life.handle, at_once=settings.concurrency, line=settings.http_line, keep_s=settings.http_keep_s, on_over=over
    )

    async def tell(job: Mapping[str, Any], body: dict[str, Any]) -> None:
        jobs.progress(str(job["id"]), body)

    async def stream(job: Mapping[str, Any], piece: dict[str, Any]) -> None:
        jobs.piece(str(job["id"]), piece)

    life.post, life.post_piece = tell, stream
    key = settings.http_api_key.get_secret_value() if settings.http_api_key is not None else None
    app = application(jobs, host.health, api_key=key, max_bytes=settings.max_input_bytes)
    server = _server(app, settings)
    loop = asyncio.get_running_loop()
    host.on_death(life.fail)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, server, host)
    try:
        await server.serve()
    except SystemExit:
        raise BootFailed(
            f"port {settings.http_port} can't be listened on", hint="Set HTTP_PORT, or --port, to a free one."
        ) from None
    finally:
        await jobs.close(settings.stop_grace_s)
        webhooks.close()
    return 1 if life.failure is not None else 0


def _server(app: Any, settings: Settings) -> uvicorn.Server:
    import uvicorn  # noqa: PLC0415 - imported while the WebUI booted

    class Server(uvicorn.Server):
        def install_signal_handlers(self) -> None:
            """Leave signals to the worker."""

    return Server(
        uvicorn.Config(
            app,
            host=settings.http_host,
            port=settings.http_port,
            log_config=None,  # its lines come out as ours
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=int(settings.stop_grace_s),
        )
    )


def _stop(server: uvicorn.Server, host: Worker) -> None:
    host.drain()
    server.should_exit = True
